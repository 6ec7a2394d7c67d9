/* libcuda.so.1 stand-in: enough to be found, counted and asked for versions. It computes nothing: every call that
 * would run work on a GPU is missing, so a CUDA program ends with a clear "symbol not found" instead of a wrong result. */
#define _GNU_SOURCE
#include "state.h"

#include <stdio.h>
#include <string.h>

#define API __attribute__((visibility("default")))
enum { OK = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_SUPPORTED = 801,
       DRIVER_MISMATCH = 803, UNKNOWN = 999 };

/* The state as it is now and the minors this process sees. */
static int look(struct sim_state *state, int *minors, int *count) {
    char error[512], name[16];
    const char *path = sim_path();
    *count = 0;
    if (!path || sim_load(path, state, error, sizeof error) || !sim_node("nvidiactl")) return NO_DEVICE;
    if (strcmp(state->driver_version, sim_library_version())) return DRIVER_MISMATCH;
    if (state->init) return UNKNOWN;
    for (int i = 0; i < state->count; i++) {
        snprintf(name, sizeof name, "nvidia%d", i);
        if (!state->gpu[i].fault && sim_node(name)) minors[(*count)++] = i;
    }
    return *count ? OK : NO_DEVICE;
}

static int gpu_at(int device, struct sim_gpu *gpu) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS], count, result = look(&state, minors, &count);
    if (result) return result;
    if (device < 0 || device >= count) return INVALID_DEVICE;
    *gpu = state.gpu[minors[device]];
    return OK;
}

API int cuInit(unsigned flags) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS], count;
    return flags ? INVALID_VALUE : look(&state, minors, &count);
}

API int cuDriverGetVersion(int *out) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS], count;
    if (!out) return INVALID_VALUE;
    state.cuda_version = 13000;
    (void)look(&state, minors, &count);
    *out = (int)state.cuda_version;
    return OK;
}

API int cuDeviceGetCount(int *out) {
    struct sim_state state;
    int minors[SIM_MAX_GPUS], result;
    if (!out) return INVALID_VALUE;
    result = look(&state, minors, out);
    return result == NO_DEVICE ? OK : result;
}

API int cuDeviceGet(int *out, int ordinal) {
    struct sim_gpu gpu;
    int result = out ? gpu_at(ordinal, &gpu) : INVALID_VALUE;
    if (!result) *out = ordinal;
    return result;
}

API int cuDeviceGetName(char *out, int size, int device) {
    struct sim_gpu gpu;
    int result = out && size > 0 ? gpu_at(device, &gpu) : INVALID_VALUE;
    if (!result) snprintf(out, (size_t)size, "%s", gpu.name);
    return result;
}

API int cuDeviceTotalMem_v2(size_t *out, int device) {
    struct sim_gpu gpu;
    int result = out ? gpu_at(device, &gpu) : INVALID_VALUE;
    if (!result) *out = (size_t)gpu.memory_mib << 20;
    return result;
}

API int cuDeviceTotalMem(size_t *out, int device) { return cuDeviceTotalMem_v2(out, device); }

API int cuDeviceGetAttribute(int *out, int attribute, int device) {
    struct sim_gpu gpu;
    int result = out ? gpu_at(device, &gpu) : INVALID_VALUE;
    if (result) return result;
    switch (attribute) {
    case 75: *out = (int)gpu.model->cc_major; return OK;
    case 76: *out = (int)gpu.model->cc_minor; return OK;
    case 13: *out = (int)gpu.model->sm_mhz * 1000; return OK;
    case 36: *out = (int)gpu.model->memory_mhz * 1000; return OK;
    case 37: *out = (int)gpu.model->bus_bits; return OK;
    case 32: *out = gpu.model->ecc; return OK;
    default: *out = 0; return OK;
    }
}

API int cuGetErrorString(int error, const char **out) {
    if (!out) return INVALID_VALUE;
    *out = error == OK ? "no error" : error == NO_DEVICE ? "no CUDA-capable device is detected"
         : error == DRIVER_MISMATCH ? "system has unsupported display driver / cuda driver combination"
         : error == NOT_SUPPORTED ? "operation not supported" : "unknown error";
    return OK;
}

/* No computation. */
API int cuCtxCreate_v2(void **context, unsigned flags, int device) {
    (void)context, (void)flags, (void)device;
    return NOT_SUPPORTED;
}

API int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)context, (void)device;
    return NOT_SUPPORTED;
}
