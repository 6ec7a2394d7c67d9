/* What can be asked of one GPU: who it is, its memory, what it does and how hot it gets, its modes. */
#define _GNU_SOURCE
#include <time.h>

#include "getters.h"

#define MIB (1024ULL * 1024)

static int busy(const struct sim_gpu *gpu) { return gpu->utilization > 0; }
static int hampered(const struct sim_gpu *gpu) { return (gpu->throttle & ~1LL) != 0; }

/* ---- identity ---- */
TEXT(nvmlDeviceGetName, gpu.name)
TEXT(nvmlDeviceGetUUID, gpu.uuid)
TEXT(nvmlDeviceGetSerial, gpu.serial)
TEXT(nvmlDeviceGetBoardPartNumber, "SIMULATED")
TEXT(nvmlDeviceGetVbiosVersion, gpu.vbios)
KNOWN(nvmlDeviceGetMinorNumber, unsigned, device->minor)
KNOWN(nvmlDeviceGetBoardId, unsigned, sim_bus(device->minor) << 8)
KNOWN(nvmlDeviceGetMultiGpuBoard, unsigned, 0)
KNOWN(nvmlDeviceGetModuleId, unsigned, device->minor + 1)
KNOWN(nvmlDeviceGetBrand, unsigned, gpu.model->brand)
KNOWN(nvmlDeviceGetArchitecture, unsigned, gpu.model->architecture)
KNOWN(nvmlDeviceGetNumGpuCores, unsigned, gpu.model->cores)
KNOWN(nvmlDeviceGetMemoryBusWidth, unsigned, gpu.model->bus_bits)
KNOWN(nvmlDeviceIsMigDeviceHandle, unsigned, 0)
PAIR(nvmlDeviceGetCudaComputeCapability, int, 1, gpu.model->cc_major, gpu.model->cc_minor)

/* ---- memory ---- */
FILL(nvmlDeviceGetMemoryInfo, nvmlMemory_t,
    unsigned long long used = (unsigned long long)gpu.memory_used_mib;
    unsigned long long total = (unsigned long long)gpu.memory_mib;
    out->total = total * MIB;
    out->used = (used > total ? total : used) * MIB;
    out->free = out->total - out->used;)

FILL_VERSIONED(nvmlDeviceGetMemoryInfo_v2, nvmlMemory_v2_t, 2,
    nvmlMemory_t memory;
    if ((result = nvmlDeviceGetMemoryInfo(device, &memory)) != 0) return result;
    out->total = memory.total, out->reserved = 0, out->free = memory.free, out->used = memory.used;)

FILL(nvmlDeviceGetBAR1MemoryInfo, nvmlBar1_t,
    for (out->total = MIB; out->total < (unsigned long long)gpu.memory_mib * MIB; out->total *= 2) {}
    out->used = MIB, out->free = out->total - MIB;)

/* ---- activity, heat, power, clocks ---- */
FILL(nvmlDeviceGetUtilizationRates, nvmlUtilization_t,
    out->gpu = (unsigned)gpu.utilization, out->memory = (unsigned)gpu.utilization / 2;)
PAIR(nvmlDeviceGetEncoderUtilization, unsigned, 1, 0, 167000)  /* percent, sampling period in microseconds */
PAIR(nvmlDeviceGetDecoderUtilization, unsigned, 1, 0, 167000)
NUMBERED(nvmlDeviceGetTemperature, unsigned, 0, 0, gpu.temperature)
FILL_VERSIONED(nvmlDeviceGetTemperatureV, nvmlTemperature_t, 1,
    if (out->sensor) return NVML_INVALID_ARGUMENT;
    out->temperature = (int)gpu.temperature;)
FILL_VERSIONED(nvmlDeviceGetMarginTemperature, nvmlMargin_t, 1, out->margin = 85 - (int)gpu.temperature;)

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

GET(nvmlDeviceGetPowerUsage, unsigned, gpu.power_w * 1000)
GET(nvmlDeviceGetPowerManagementMode, unsigned, 1)
GET(nvmlDeviceGetPowerManagementLimit, unsigned, gpu.power_limit_w * 1000)
GET(nvmlDeviceGetEnforcedPowerLimit, unsigned, gpu.power_limit_w * 1000)
GET(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, gpu.model->limit_w * 1000)
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, unsigned, 1, gpu.model->limit_w * 250, gpu.model->limit_w * 1000)
GET(nvmlDeviceGetPerformanceState, unsigned, 0)
GET(nvmlDeviceGetPowerState, unsigned, 0)
GET(nvmlDeviceGetCurrentClocksEventReasons, unsigned long long, gpu.throttle)
GET(nvmlDeviceGetCurrentClocksThrottleReasons, unsigned long long, gpu.throttle)
GET(nvmlDeviceGetSupportedClocksEventReasons, unsigned long long, 0x1ff)
GET(nvmlDeviceGetSupportedClocksThrottleReasons, unsigned long long, 0x1ff)
GET(nvmlDeviceGetTotalEnergyConsumption, unsigned long long, (unsigned long long)time(NULL) % 1000000 * (unsigned long long)gpu.power_w * 1000)

/* By NVML's numbers of clocks: graphics, SM, memory, video. */
static unsigned mhz(const struct sim_gpu *gpu, int kind, int maximum) {
    if (kind == 2) return gpu->model->memory_mhz;
    if (maximum) return gpu->model->sm_mhz;
    return hampered(gpu) ? gpu->model->sm_mhz / 3 : busy(gpu) ? gpu->model->sm_mhz : 210;
}

NUMBERED(nvmlDeviceGetClockInfo, unsigned, 0, 3, mhz(&gpu, which, 0))
NUMBERED(nvmlDeviceGetMaxClockInfo, unsigned, 0, 3, mhz(&gpu, which, 1))
NUMBERED(nvmlDeviceGetApplicationsClock, unsigned, 0, 3, mhz(&gpu, which, 1))
NUMBERED(nvmlDeviceGetDefaultApplicationsClock, unsigned, 0, 3, mhz(&gpu, which, 1))
NUMBERED(nvmlDeviceGetMaxCustomerBoostClock, unsigned, 0, 3, mhz(&gpu, which, 1))

API nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, int kind, int which, unsigned *out) {
    return which ? nvmlDeviceGetMaxClockInfo(device, kind, out) : nvmlDeviceGetClockInfo(device, kind, out);
}

/* ---- modes ---- */
GET(nvmlDeviceGetPersistenceMode, unsigned, gpu.persistence)
GET(nvmlDeviceGetComputeMode, unsigned, 0)
GET(nvmlDeviceGetDisplayMode, unsigned, 0)
GET(nvmlDeviceGetDisplayActive, unsigned, 0)
GET(nvmlDeviceGetAccountingMode, unsigned, 0)
GET(nvmlDeviceGetVirtualizationMode, unsigned, 0)
KNOWN(nvmlDeviceGetMaxMigDeviceCount, unsigned, 0)
PAIR(nvmlDeviceGetMigMode, unsigned, gpu.model->mig, 0, 0)                  /* now, after the next reboot */
PAIR(nvmlDeviceGetEccMode, unsigned, gpu.model->ecc, gpu.ecc, gpu.ecc)

/* ---- processes ---- */

/* At most one process uses a simulated GPU: the one that the state names. `size` is that of the caller's rows, whose
 * layouts all begin alike. Called with too few rows, it says how many there are. */
static nvmlReturn_t processes(nvmlDevice_t device, int graphics, unsigned *count, void *rows, size_t size) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (!count) return NVML_INVALID_ARGUMENT;
    unsigned room = *count;
    *count = gpu.process && !graphics;
    if (!*count) return NVML_SUCCESS;
    if (!room) return NVML_INSUFFICIENT_SIZE;
    if (!rows) return NVML_INVALID_ARGUMENT;
    nvmlProcess_t row = {(unsigned)gpu.process, (unsigned long long)gpu.memory_used_mib * MIB, 0xffffffffu, 0xffffffffu};
    memcpy(rows, &row, size);
    return NVML_SUCCESS;
}

#define PROCESSES(name, graphics, row) \
    API nvmlReturn_t name(nvmlDevice_t device, unsigned *count, row *out) { return processes(device, graphics, count, out, sizeof *out); }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, 0, nvmlProcess_v1_t)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, 0, nvmlProcess_t)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 0, nvmlProcess_t)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 1, nvmlProcess_v1_t)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, 1, nvmlProcess_t)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 1, nvmlProcess_t)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 1, nvmlProcess_v1_t)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, 1, nvmlProcess_t)
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, 1, nvmlProcess_t)
