/* Between the stand-in's own files: access to the state under its lock. */
#ifndef ARENA_GPUSIM_NVML_CORE_H
#define ARENA_GPUSIM_NVML_CORE_H

#include "nvml_abi.h"
#include "state.h"

#define API __attribute__((visibility("default")))

struct nvml_device { int minor; };

/* The GPU behind a handle as it is now, copied; the GPU's fault if it has one. */
nvmlReturn_t core_device(nvmlDevice_t device, struct sim_gpu *gpu);

/* The same for what NVML remembers of a GPU that was once there: faults are not looked at. */
nvmlReturn_t core_identity(nvmlDevice_t device, struct sim_gpu *gpu);

/* A copy of the whole state as it is now. */
nvmlReturn_t core_state(struct sim_state *state);

nvmlDevice_t core_handle(int minor);

#endif
