/* The shapes that most of NVML's getters have: look the GPU up, check the pointers, put the answer there. In every
 * expression and body `gpu` is a copy of the GPU as it is now and `out` is where the answer goes. */
#ifndef ARENA_GPUSIM_GETTERS_H
#define ARENA_GPUSIM_GETTERS_H

#include <string.h>

#include "nvml_core.h"

/* out is a struct or a number: the body fills it in, or returns why not. */
#define FILL_FROM(source, name, type, ...)                    \
    API nvmlReturn_t name(nvmlDevice_t device, type *out) {   \
        struct sim_gpu gpu;                                   \
        nvmlReturn_t result = source(device, &gpu);           \
        if (result) return result;                            \
        if (!out) return NVML_INVALID_ARGUMENT;               \
        __VA_ARGS__                                           \
        return NVML_SUCCESS;                                  \
    }
#define FILL(name, type, ...) FILL_FROM(core_device, name, type, __VA_ARGS__)

/* The same where the caller's struct says which version of it is meant. */
#define FILL_VERSIONED(name, type, number, ...) \
    FILL(name, type, if (out->version != NVML_VERSIONED(type, number)) return NVML_ARGUMENT_VERSION_MISMATCH; __VA_ARGS__)

/* One value out of the GPU as it is now; one that NVML still knows when the GPU has fallen off the bus. */
#define GET(name, type, expression) FILL(name, type, *out = (type)(expression);)
#define KNOWN(name, type, expression) FILL_FROM(core_identity, name, type, *out = (type)(expression);)

/* Two values. `has`: whether this GPU knows them at all. */
#define PAIR(name, type, has, first, second)                                    \
    API nvmlReturn_t name(nvmlDevice_t device, type *one, type *two) {          \
        struct sim_gpu gpu;                                                     \
        nvmlReturn_t result = core_device(device, &gpu);                        \
        if (result) return result;                                              \
        if (!one || !two) return NVML_INVALID_ARGUMENT;                         \
        if (!(has)) return NVML_NOT_SUPPORTED;                                  \
        *one = (type)(first), *two = (type)(second);                            \
        return NVML_SUCCESS;                                                    \
    }

/* A value that is asked for by a number: `which` of low to high. */
#define NUMBERED(name, type, low, high, expression)                                     \
    API nvmlReturn_t name(nvmlDevice_t device, int which, type *out) {                  \
        struct sim_gpu gpu;                                                             \
        nvmlReturn_t result = core_device(device, &gpu);                                \
        if (result) return result;                                                      \
        if (!out || which < (low) || which > (high)) return NVML_INVALID_ARGUMENT;      \
        *out = (type)(expression);                                                      \
        return NVML_SUCCESS;                                                            \
    }

/* What two GPUs are to each other. */
#define BETWEEN(name, expression)                                                   \
    API nvmlReturn_t name(nvmlDevice_t one, nvmlDevice_t other, int *out) {         \
        struct sim_gpu gpu;                                                         \
        nvmlReturn_t result = core_device(one, &gpu);                               \
        if (!result) result = core_device(other, &gpu);                             \
        if (result) return result;                                                  \
        if (!out) return NVML_INVALID_ARGUMENT;                                     \
        *out = (expression);                                                        \
        return NVML_SUCCESS;                                                        \
    }

#define TEXT(name, expression)                                                 \
    API nvmlReturn_t name(nvmlDevice_t device, char *out, unsigned size) {     \
        struct sim_gpu gpu;                                                    \
        nvmlReturn_t result = core_identity(device, &gpu);                     \
        if (result) return result;                                             \
        const char *text = (expression);                                       \
        if (!out) return NVML_INVALID_ARGUMENT;                                \
        if (strlen(text) >= size) return NVML_INSUFFICIENT_SIZE;               \
        strcpy(out, text);                                                     \
        return NVML_SUCCESS;                                                   \
    }

#endif
