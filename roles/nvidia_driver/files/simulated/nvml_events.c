/* Events: an XID that gpusim writes into the state reaches whoever waits on a set that registered for the GPU. */
#define _GNU_SOURCE
#include "nvml_core.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_MS 100

struct nvml_event_set {
    unsigned long long mask[SIM_MAX_GPUS];
    unsigned long long after[SIM_MAX_GPUS];  /* sequence of the last event delivered, or present at registration */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

API nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *out) {
    struct sim_state state;
    nvmlReturn_t result = core_state(&state);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = calloc(1, sizeof **out);
    return *out ? NVML_SUCCESS : NVML_MEMORY;
}

API nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    if (!set) return NVML_INVALID_ARGUMENT;
    free(set);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = NVML_EVENT_XID | (gpu.model->ecc ? NVML_EVENT_SINGLE_ECC | NVML_EVENT_DOUBLE_ECC : 0);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    struct sim_gpu gpu;
    struct sim_state state;
    unsigned long long supported;
    nvmlReturn_t result = core_device(device, &gpu);
    if (!result) result = nvmlDeviceGetSupportedEventTypes(device, &supported);
    if (!result) result = core_state(&state);
    if (result) return result;
    if (!set) return NVML_INVALID_ARGUMENT;
    if (types & ~supported) return NVML_NOT_SUPPORTED;
    pthread_mutex_lock(&lock);
    set->mask[device->minor] |= types;
    set->after[device->minor] = state.last_sequence;
    pthread_mutex_unlock(&lock);
    return NVML_SUCCESS;
}

/* The oldest event that the set has not seen; 1 and filled in, or 0. */
static int next_event(nvmlEventSet_t set, const struct sim_state *state, nvmlEvent_t *out) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < state->events && !found; i++) {
        const struct sim_event *event = &state->event[i];
        if (!(set->mask[event->gpu] & NVML_EVENT_XID) || event->sequence <= set->after[event->gpu]) continue;
        set->after[event->gpu] = event->sequence;
        memset(out, 0, sizeof *out);
        out->device = core_handle(event->gpu);
        out->type = NVML_EVENT_XID;
        out->data = event->xid;
        out->gpu_instance = out->compute_instance = 0xffffffffu;
        found = 1;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

API nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEvent_t *out, unsigned timeout_ms) {
    struct timespec now, end, pause = {0, POLL_MS * 1000000L};
    struct sim_state *state;
    nvmlReturn_t result = NVML_TIMEOUT;
    if (!set || !out) return NVML_INVALID_ARGUMENT;
    state = malloc(sizeof *state);
    if (!state) return NVML_MEMORY;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (end.tv_nsec >= 1000000000L) { end.tv_sec++; end.tv_nsec -= 1000000000L; }
    for (;;) {
        result = core_state(state);
        if (result) break;
        if (next_event(set, state, out)) break;
        clock_gettime(CLOCK_MONOTONIC, &now);
        long long left = (end.tv_sec - now.tv_sec) * 1000000000LL + (end.tv_nsec - now.tv_nsec);
        if (left <= 0) { result = NVML_TIMEOUT; break; }
        pause.tv_nsec = left < POLL_MS * 1000000LL ? (long)left : POLL_MS * 1000000L;
        nanosleep(&pause, NULL);
    }
    free(state);
    return result;
}

API nvmlReturn_t nvmlEventSetWait(nvmlEventSet_t set, nvmlEvent_t *out, unsigned timeout_ms) {
    return nvmlEventSetWait_v2(set, out, timeout_ms);
}
