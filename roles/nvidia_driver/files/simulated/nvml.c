/* libnvidia-ml.so.1 stand-in, the core: library life, system calls, enumeration and handles.
 *
 * It answers from the state file (state.h) wherever the real library would ask the kernel module, so that unmodified
 * NVML clients run without a GPU. As with the real driver, a process sees only the GPUs whose device nodes it may open. */
#define _GNU_SOURCE
#include "nvml_core.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int initialised;                 /* number of nvmlInit without nvmlShutdown */
static struct sim_state current;
static struct stat seen;                /* of the file when `current` was read */
static int settled;                     /* the file was old enough then that a later write must show in its times */
static struct nvml_device devices[SIM_MAX_GPUS];

nvmlDevice_t core_handle(int minor) { return &devices[minor]; }

/* Re-read the state when its file changed. Call with the lock held. 0, or -1 if there never was a readable state. */
static int refresh(int first) {
    const char *path = sim_path();
    struct stat now;
    struct timespec clock;
    char error[512];
    if (!path || stat(path, &now)) return first ? -1 : 0;
    if (!first && settled && now.st_ino == seen.st_ino && now.st_size == seen.st_size &&
        now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return 0;
    struct sim_state *fresh = malloc(sizeof *fresh);
    if (!fresh) return first ? -1 : 0;
    int failed = sim_load(path, fresh, error, sizeof error);
    if (failed) {
        if (first || getenv("ARENA_GPUSIM_DEBUG")) fprintf(stderr, "libnvidia-ml (simulated): %s: %s\n", path, error);
    } else {
        current = *fresh;
        seen = now;
        clock_gettime(CLOCK_REALTIME, &clock);
        settled = clock.tv_sec - now.st_mtim.tv_sec > 1;  /* file times tick in steps of up to 10 ms */
    }
    free(fresh);
    return failed && first ? -1 : 0;
}

static nvmlReturn_t enter(void) {
    pthread_mutex_lock(&lock);
    if (!initialised) {
        pthread_mutex_unlock(&lock);
        return NVML_UNINITIALIZED;
    }
    refresh(0);
    return NVML_SUCCESS;
}

static void leave(void) { pthread_mutex_unlock(&lock); }

nvmlReturn_t core_state(struct sim_state *state) {
    nvmlReturn_t result = enter();
    if (result) return result;
    *state = current;
    leave();
    return NVML_SUCCESS;
}

nvmlReturn_t core_identity(nvmlDevice_t device, struct sim_gpu *gpu) {
    nvmlReturn_t result = enter();
    if (result) return result;
    if (device < devices || device >= devices + SIM_MAX_GPUS) result = NVML_INVALID_ARGUMENT;
    else if (device->minor >= current.count) result = NVML_GPU_IS_LOST;
    else *gpu = current.gpu[device->minor];
    leave();
    return result;
}

nvmlReturn_t core_device(nvmlDevice_t device, struct sim_gpu *gpu) {
    nvmlReturn_t result = core_identity(device, gpu);
    return result ? result : (nvmlReturn_t)gpu->fault;
}

/* ---- life ---- */

API nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    nvmlReturn_t result = NVML_SUCCESS;
    (void)flags;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < SIM_MAX_GPUS; i++) devices[i].minor = i;
    if (refresh(1) || !sim_node("nvidiactl")) result = NVML_DRIVER_NOT_LOADED;
    else if (current.init) result = (nvmlReturn_t)current.init;
    else if (strcmp(current.driver_version, sim_library_version())) result = NVML_LIB_RM_VERSION_MISMATCH;
    else initialised++;
    pthread_mutex_unlock(&lock);
    return result;
}

API nvmlReturn_t nvmlInit(void) { return nvmlInitWithFlags(0); }
API nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

API nvmlReturn_t nvmlShutdown(void) {
    pthread_mutex_lock(&lock);
    nvmlReturn_t result = initialised ? NVML_SUCCESS : NVML_UNINITIALIZED;
    if (initialised) initialised--;
    pthread_mutex_unlock(&lock);
    return result;
}

API const char *nvmlErrorString(nvmlReturn_t code) {
    switch (code) {
    case NVML_SUCCESS: return "Success";
    case NVML_UNINITIALIZED: return "Uninitialized";
    case NVML_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_NOT_SUPPORTED: return "Not Supported";
    case NVML_NO_PERMISSION: return "Insufficient Permissions";
    case NVML_ALREADY_INITIALIZED: return "Already Initialized";
    case NVML_NOT_FOUND: return "Not Found";
    case NVML_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_INSUFFICIENT_POWER: return "Insufficient External Power";
    case NVML_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_TIMEOUT: return "Timeout";
    case NVML_IRQ_ISSUE: return "Interrupt Request Issue";
    case NVML_LIBRARY_NOT_FOUND: return "NVML Shared Library Not Found";
    case NVML_FUNCTION_NOT_FOUND: return "Function Not Found";
    case NVML_CORRUPTED_INFOROM: return "Corrupted infoROM";
    case NVML_GPU_IS_LOST: return "GPU is lost";
    case NVML_RESET_REQUIRED: return "GPU requires reset";
    case NVML_OPERATING_SYSTEM: return "GPU access blocked by the operating system";
    case NVML_LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    case NVML_IN_USE: return "In use by another client";
    case NVML_MEMORY: return "Insufficient Memory";
    case NVML_NO_DATA: return "No data";
    case NVML_ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    default: return "Unknown Error";
    }
}

/* ---- system ---- */

static nvmlReturn_t put_text(char *out, unsigned size, const char *text) {
    if (!out) return NVML_INVALID_ARGUMENT;
    if (strlen(text) >= size) return NVML_INSUFFICIENT_SIZE;
    strcpy(out, text);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlSystemGetDriverVersion(char *out, unsigned size) {
    struct sim_state state;
    nvmlReturn_t result = core_state(&state);
    return result ? result : put_text(out, size, state.driver_version);
}

API nvmlReturn_t nvmlSystemGetNVMLVersion(char *out, unsigned size) {
    struct sim_state state;
    char text[96];
    nvmlReturn_t result = core_state(&state);
    if (result && result != NVML_UNINITIALIZED) return result;  /* answered before nvmlInit too */
    snprintf(text, sizeof text, "%lld.%s", (result ? 13000 : state.cuda_version) / 1000, sim_library_version());
    return put_text(out, size, text);
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *out) {
    struct sim_state state;
    nvmlReturn_t result = core_state(&state);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = (int)state.cuda_version;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }

API nvmlReturn_t nvmlSystemGetDriverBranch(nvmlBranch_t *out, unsigned size) {
    struct sim_state state;
    nvmlReturn_t result = core_state(&state);
    if (result) return result;
    if (!out || size > sizeof out->branch) return NVML_INVALID_ARGUMENT;
    if (out->version != NVML_VERSIONED(nvmlBranch_t, 1)) return NVML_ARGUMENT_VERSION_MISMATCH;
    snprintf(out->branch, size, "r%.*s_00", (int)strcspn(state.driver_version, "."), state.driver_version);
    return NVML_SUCCESS;
}

/* ---- enumeration ---- */

/* The minors that this process sees, lowest first; how many. */
static int visible(const struct sim_state *state, int *minors) {
    int found = 0;
    char name[16];
    for (int i = 0; i < state->count && i < SIM_MAX_GPUS; i++) {
        snprintf(name, sizeof name, "nvidia%d", i);
        if (sim_node(name)) minors[found++] = i;
    }
    return found;
}

API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *out) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS];
    nvmlReturn_t result = core_state(&state);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = (unsigned)visible(&state, minors);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetCount(unsigned *out) { return nvmlDeviceGetCount_v2(out); }

API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *out) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS];
    nvmlReturn_t result = core_state(&state);
    if (result) return result;
    if (!out || index >= (unsigned)visible(&state, minors)) return NVML_INVALID_ARGUMENT;
    if (state.gpu[minors[index]].fault) return (nvmlReturn_t)state.gpu[minors[index]].fault;
    *out = &devices[minors[index]];
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *out) {
    return nvmlDeviceGetHandleByIndex_v2(index, out);
}

/* The first visible GPU for which same(state, minor, wanted) holds. */
static nvmlReturn_t find(const char *wanted, int (*same)(const struct sim_state *, int, const char *), nvmlDevice_t *out) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS];
    nvmlReturn_t result = core_state(&state);
    if (result) return result;
    if (!wanted || !out) return NVML_INVALID_ARGUMENT;
    for (int i = 0, found = visible(&state, minors); i < found; i++)
        if (same(&state, minors[i], wanted)) {
            if (state.gpu[minors[i]].fault) return (nvmlReturn_t)state.gpu[minors[i]].fault;
            *out = &devices[minors[i]];
            return NVML_SUCCESS;
        }
    return NVML_NOT_FOUND;
}

static int same_uuid(const struct sim_state *state, int minor, const char *wanted) {
    return !strcmp(state->gpu[minor].uuid, wanted);
}

static int same_serial(const struct sim_state *state, int minor, const char *wanted) {
    return !strcmp(state->gpu[minor].serial, wanted);
}

static int same_bus(const struct sim_state *state, int minor, const char *wanted) {
    unsigned domain, bus, device;
    (void)state;
    return sscanf(wanted, "%x:%x:%x", &domain, &bus, &device) == 3 && !domain && !device && bus == sim_bus(minor);
}

API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *out) { return find(uuid, same_uuid, out); }
API nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *out) { return find(serial, same_serial, out); }
API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, nvmlDevice_t *out) { return find(id, same_bus, out); }
API nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *id, nvmlDevice_t *out) { return find(id, same_bus, out); }

API nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *out) {
    struct sim_state state;
    struct sim_gpu gpu;
    int minors[SIM_MAX_GPUS];
    nvmlReturn_t result = core_identity(device, &gpu);
    if (!result) result = core_state(&state);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    for (int i = 0, found = visible(&state, minors); i < found; i++)
        if (minors[i] == device->minor) {
            *out = (unsigned)i;
            return NVML_SUCCESS;
        }
    return NVML_NOT_FOUND;
}
