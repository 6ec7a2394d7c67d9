/* What can be asked of one GPU. */
#define _GNU_SOURCE
#include "nvml_core.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MIB (1024ULL * 1024)

/* One value out of the GPU as it is now. */
#define GET(name, type, expression) GET_FROM(core_device, name, type, expression)
/* One value that NVML still knows when the GPU has fallen off the bus. */
#define KNOWN(name, type, expression) GET_FROM(core_identity, name, type, expression)
#define GET_FROM(source, name, type, expression)              \
    API nvmlReturn_t name(nvmlDevice_t device, type *out) {   \
        struct sim_gpu gpu;                                   \
        nvmlReturn_t result = source(device, &gpu);           \
        if (result) return result;                            \
        if (!out) return NVML_INVALID_ARGUMENT;               \
        *out = (type)(expression);                            \
        return NVML_SUCCESS;                                  \
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

static int busy(const struct sim_gpu *gpu) { return gpu->utilization > 0; }
static int hampered(const struct sim_gpu *gpu) { return (gpu->throttle & ~1LL) != 0; }

static unsigned sm_clock(const struct sim_gpu *gpu) {
    return hampered(gpu) ? gpu->model->sm_mhz / 3 : busy(gpu) ? gpu->model->sm_mhz : 210;
}

/* ---- identity ---- */
TEXT(nvmlDeviceGetName, gpu.name)
TEXT(nvmlDeviceGetUUID, gpu.uuid)
TEXT(nvmlDeviceGetSerial, gpu.serial)
TEXT(nvmlDeviceGetBoardPartNumber, "SIMULATED")
TEXT(nvmlDeviceGetVbiosVersion, "00.00.00.00.00")
KNOWN(nvmlDeviceGetMinorNumber, unsigned, device->minor)
KNOWN(nvmlDeviceGetBoardId, unsigned, core_bus(device->minor) << 8)
KNOWN(nvmlDeviceGetMultiGpuBoard, unsigned, 0)
KNOWN(nvmlDeviceGetModuleId, unsigned, device->minor + 1)
KNOWN(nvmlDeviceGetBrand, unsigned, gpu.model->brand)
KNOWN(nvmlDeviceGetArchitecture, unsigned, gpu.model->architecture)
KNOWN(nvmlDeviceGetNumGpuCores, unsigned, gpu.model->cores)
KNOWN(nvmlDeviceGetMemoryBusWidth, unsigned, gpu.model->bus_bits)
KNOWN(nvmlDeviceIsMigDeviceHandle, unsigned, 0)

API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!major || !minor) return NVML_INVALID_ARGUMENT;
    *major = (int)gpu.model->cc_major;
    *minor = (int)gpu.model->cc_minor;
    return NVML_SUCCESS;
}

/* ---- PCI ---- */
API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPci_t *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_identity(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    memset(out, 0, sizeof *out);
    out->bus = core_bus(device->minor);
    out->device_vendor = gpu.model->pci_device << 16 | 0x10de;
    out->subsystem = 0x000010de;
    snprintf(out->legacy_id, sizeof out->legacy_id, "0000:%02X:00.0", out->bus);
    snprintf(out->id, sizeof out->id, "00000000:%02X:00.0", out->bus);
    return NVML_SUCCESS;
}

/* Older layouts end before the long bus id (v2: four reserved words follow instead). */
API nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, void *out) {
    nvmlPci_t info;
    nvmlReturn_t result = nvmlDeviceGetPciInfo_v3(device, out ? &info : NULL);
    if (!result) memcpy(out, &info, sizeof info - sizeof info.id);
    return result;
}

API nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, void *out) { return nvmlDeviceGetPciInfo_v2(device, out); }

API nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, nvmlPciExt_t *out) {
    nvmlPci_t info;
    nvmlReturn_t result = nvmlDeviceGetPciInfo_v3(device, out ? &info : NULL);
    if (result) return result;
    if (out->version != NVML_VERSIONED(nvmlPciExt_t, 1)) return NVML_ARGUMENT_VERSION_MISMATCH;
    out->domain = info.domain, out->bus = info.bus, out->device = info.device;
    out->device_vendor = info.device_vendor, out->subsystem = info.subsystem;
    out->base_class = 3, out->sub_class = 2;  /* 3D controller */
    memcpy(out->id, info.id, sizeof out->id);
    return NVML_SUCCESS;
}

GET(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, 4)
GET(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, 4)
GET(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, 4)
GET(nvmlDeviceGetMaxPcieLinkWidth, unsigned, 16)
GET(nvmlDeviceGetCurrPcieLinkWidth, unsigned, 16)
GET(nvmlDeviceGetPcieReplayCounter, unsigned, 0)

API nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, int counter, unsigned *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out || counter < 0 || counter > 1) return NVML_INVALID_ARGUMENT;
    *out = 0;
    return NVML_SUCCESS;
}

/* Two halves of four GPUs each per socket, no NVLink. */
API nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t one, nvmlDevice_t other, int *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(one, &gpu);
    if (!result) result = core_device(other, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = one == other ? 0 : one->minor / 4 == other->minor / 4 ? 40 : 50;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t one, nvmlDevice_t other, int *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(one, &gpu);
    if (!result) result = core_device(other, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = one == other;
    return NVML_SUCCESS;
}

/* ---- memory ---- */
API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    unsigned long long used = (unsigned long long)gpu.memory_used_mib, total = (unsigned long long)gpu.memory_mib;
    out->total = total * MIB;
    out->used = (used > total ? total : used) * MIB;
    out->free = out->total - out->used;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *out) {
    nvmlMemory_t memory;
    nvmlReturn_t result = nvmlDeviceGetMemoryInfo(device, &memory);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    if (out->version != NVML_VERSIONED(nvmlMemory_v2_t, 2)) return NVML_ARGUMENT_VERSION_MISMATCH;
    out->total = memory.total, out->reserved = 0, out->free = memory.free, out->used = memory.used;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, nvmlBar1_t *out) {
    nvmlMemory_t memory;
    nvmlReturn_t result = nvmlDeviceGetMemoryInfo(device, &memory);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    for (out->total = MIB; out->total < memory.total; out->total *= 2) {}
    out->used = MIB, out->free = out->total - MIB;
    return NVML_SUCCESS;
}

/* ---- activity, heat, power, clocks ---- */
API nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    out->gpu = (unsigned)gpu.utilization;
    out->memory = (unsigned)gpu.utilization / 2;
    return NVML_SUCCESS;
}

static nvmlReturn_t coder(nvmlDevice_t device, unsigned *percent, unsigned *period_us) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!percent || !period_us) return NVML_INVALID_ARGUMENT;
    *percent = 0, *period_us = 167000;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t device, unsigned *percent, unsigned *period_us) { return coder(device, percent, period_us); }
API nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t device, unsigned *percent, unsigned *period_us) { return coder(device, percent, period_us); }

API nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out || sensor) return NVML_INVALID_ARGUMENT;
    *out = (unsigned)gpu.temperature;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, nvmlTemperature_t *out) {
    unsigned value;
    if (!out) return NVML_INVALID_ARGUMENT;
    if (out->version != NVML_VERSIONED(nvmlTemperature_t, 1)) return NVML_ARGUMENT_VERSION_MISMATCH;
    nvmlReturn_t result = nvmlDeviceGetTemperature(device, out->sensor, &value);
    if (!result) out->temperature = (int)value;
    return result;
}

API nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, int which, unsigned *out) {
    static const unsigned celsius[] = {92, 89, 95, 85};  /* shutdown, slowdown, memory maximum, GPU maximum */
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    if (which < 0 || which > 3) return NVML_NOT_SUPPORTED;
    *out = celsius[which];
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t device, nvmlMargin_t *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    if (out->version != NVML_VERSIONED(nvmlMargin_t, 1)) return NVML_ARGUMENT_VERSION_MISMATCH;
    out->margin = 85 - (int)gpu.temperature;
    return NVML_SUCCESS;
}

GET(nvmlDeviceGetPowerUsage, unsigned, gpu.power_w * 1000)
GET(nvmlDeviceGetPowerManagementMode, unsigned, 1)
GET(nvmlDeviceGetPowerManagementLimit, unsigned, gpu.power_limit_w * 1000)
GET(nvmlDeviceGetEnforcedPowerLimit, unsigned, gpu.power_limit_w * 1000)
GET(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, gpu.model->limit_w * 1000)
GET(nvmlDeviceGetPerformanceState, unsigned, 0)
GET(nvmlDeviceGetPowerState, unsigned, 0)
GET(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, gpu.throttle)
GET(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, gpu.throttle)
GET(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, 0x1ff)
GET(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, 0x1ff)
GET(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, (unsigned long long)time(NULL) % 1000000 * (unsigned long long)gpu.power_w * 1000)

API nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned *low, unsigned *high) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!low || !high) return NVML_INVALID_ARGUMENT;
    *low = gpu.model->limit_w * 250, *high = gpu.model->limit_w * 1000;
    return NVML_SUCCESS;
}

static nvmlReturn_t clock_mhz(nvmlDevice_t device, int kind, int maximum, unsigned *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!out || kind < 0 || kind > 3) return NVML_INVALID_ARGUMENT;  /* graphics, SM, memory, video */
    *out = kind == 2 ? gpu.model->memory_mhz : maximum ? gpu.model->sm_mhz : sm_clock(&gpu);
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int kind, unsigned *out) { return clock_mhz(device, kind, 0, out); }
API nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, int kind, unsigned *out) { return clock_mhz(device, kind, 1, out); }
API nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, int kind, unsigned *out) { return clock_mhz(device, kind, 1, out); }
API nvmlReturn_t nvmlDeviceGetDefaultApplicationsClock(nvmlDevice_t device, int kind, unsigned *out) { return clock_mhz(device, kind, 1, out); }
API nvmlReturn_t nvmlDeviceGetMaxCustomerBoostClock(nvmlDevice_t device, int kind, unsigned *out) { return clock_mhz(device, kind, 1, out); }
API nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, int kind, int which, unsigned *out) { return clock_mhz(device, kind, which != 0, out); }

/* ---- modes ---- */
GET(nvmlDeviceGetPersistenceMode, unsigned, 1)
GET(nvmlDeviceGetComputeMode, unsigned, 0)
GET(nvmlDeviceGetDisplayMode, unsigned, 0)
GET(nvmlDeviceGetDisplayActive, unsigned, 0)
GET(nvmlDeviceGetAccountingMode, unsigned, 0)
GET(nvmlDeviceGetVirtualizationMode, unsigned, 0)
KNOWN(nvmlDeviceGetMaxMigDeviceCount, unsigned, 0)

static nvmlReturn_t pair(nvmlDevice_t device, unsigned *now, unsigned *next, int has_ecc) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!now || !next) return NVML_INVALID_ARGUMENT;
    if (has_ecc ? !gpu.model->ecc : !gpu.model->mig) return NVML_NOT_SUPPORTED;
    *now = *next = has_ecc ? 1 : 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *now, unsigned *next) { return pair(device, now, next, 0); }
API nvmlReturn_t nvmlDeviceGetEccMode(nvmlDevice_t device, unsigned *now, unsigned *next) { return pair(device, now, next, 1); }

/* No process of ours uses a GPU. */
static nvmlReturn_t processes(nvmlDevice_t device, unsigned *count) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!count) return NVML_INVALID_ARGUMENT;
    *count = 0;
    return NVML_SUCCESS;
}

#define NO_PROCESSES(name) API nvmlReturn_t name(nvmlDevice_t device, unsigned *count, void *out) { (void)out; return processes(device, count); }
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses)
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)
