/* Memory errors and row remapping, and the field values that repeat them. */
#define _GNU_SOURCE
#include "nvml_core.h"

#include <string.h>
#include <time.h>

enum { CORRECTED = 0, UNCORRECTED = 1, DEVICE_MEMORY = 2 };

static nvmlReturn_t ecc_gpu(nvmlDevice_t device, struct sim_gpu *gpu) {
    nvmlReturn_t result = core_device(device, gpu);
    return result ? result : gpu->model->ecc && gpu->ecc ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
}

/* Volatile (since boot) and aggregate counters are one number here. */
API nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, int kind, int counter, unsigned long long *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = ecc_gpu(device, &gpu);
    if (result) return result;
    if (!out || kind < CORRECTED || kind > UNCORRECTED || counter < 0 || counter > 1) return NVML_INVALID_ARGUMENT;
    *out = (unsigned long long)(kind == CORRECTED ? gpu.ecc_corrected : gpu.ecc_uncorrected);
    return NVML_SUCCESS;
}

/* All of them are in device memory. */
API nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, int kind, int counter, int location,
                                                 unsigned long long *out) {
    nvmlReturn_t result = nvmlDeviceGetTotalEccErrors(device, kind, counter, out);
    if (!result && location != DEVICE_MEMORY) *out = 0;
    return result;
}

/* Out: level-1 cache, level-2 cache, device memory, registers. */
API nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t device, int kind, int counter, unsigned long long *out) {
    if (!out) return NVML_INVALID_ARGUMENT;
    memset(out, 0, 4 * sizeof *out);
    return nvmlDeviceGetTotalEccErrors(device, kind, counter, &out[2]);
}

/* GPUs from Ampere on remap rows; older ones retire pages. */
static nvmlReturn_t remapping_gpu(nvmlDevice_t device, struct sim_gpu *gpu) {
    nvmlReturn_t result = ecc_gpu(device, gpu);
    return result ? result : gpu->model->architecture >= 7 ? NVML_SUCCESS : NVML_NOT_SUPPORTED;
}

API nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *correctable, unsigned *uncorrectable,
                                           unsigned *pending, unsigned *failure) {
    struct sim_gpu gpu;
    nvmlReturn_t result = remapping_gpu(device, &gpu);
    if (result) return result;
    if (!correctable || !uncorrectable || !pending || !failure) return NVML_INVALID_ARGUMENT;
    *correctable = (unsigned)gpu.remapped_correctable, *uncorrectable = (unsigned)gpu.remapped_uncorrectable;
    *pending = (unsigned)gpu.remap_pending, *failure = (unsigned)gpu.remap_failure;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, unsigned *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = ecc_gpu(device, &gpu);
    if (result) return result;
    if (gpu.model->architecture >= 7) return NVML_NOT_SUPPORTED;
    if (!out) return NVML_INVALID_ARGUMENT;
    *out = (unsigned)gpu.retired_pending;
    return NVML_SUCCESS;
}

/* What nvidia-smi's exit code 14 stands for. */
API nvmlReturn_t nvmlDeviceValidateInforom(nvmlDevice_t device) {
    struct sim_gpu gpu;
    nvmlReturn_t result = core_device(device, &gpu);
    return result ? result : gpu.inforom_corrupted ? NVML_CORRUPTED_INFOROM : NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, nvmlRowHistogram_t *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = remapping_gpu(device, &gpu);
    if (result) return result;
    if (!out) return NVML_INVALID_ARGUMENT;
    unsigned used = (unsigned)(gpu.remapped_correctable + gpu.remapped_uncorrectable), banks = 640;
    memset(out, 0, sizeof *out);
    if (gpu.remap_failure) out->none = 1;
    else out->partial = used < banks ? used : banks;
    out->max = banks - out->none - out->partial;
    return NVML_SUCCESS;
}

/* One field by NVML's field number; the number's meaning is in the comment of each case. */
static nvmlReturn_t field_value(const struct sim_gpu *gpu, unsigned field, long long *out) {
    switch (field) {
    case 1: *out = gpu->ecc; break;                                                     /* ECC on */
    case 3: case 5: *out = gpu->ecc_corrected; break;                                   /* single-bit, volatile, aggregate */
    case 4: case 6: *out = gpu->ecc_uncorrected; break;                                 /* double-bit */
    case 142: *out = gpu->remapped_correctable; break;
    case 143: *out = gpu->remapped_uncorrectable; break;
    case 144: *out = gpu->remap_pending; break;
    case 145: *out = gpu->remap_failure; break;
    case 82: *out = gpu->temperature + 4; break;                                        /* memory temperature */
    case 185: case 186: *out = gpu->power_w * 1000; break;                              /* average, instant, mW */
    case 189: *out = (long long)gpu->model->limit_w * 1000; break;                      /* default limit */
    case 190: *out = gpu->power_limit_w * 1000; break;                                  /* current limit */
    default: return NVML_NOT_SUPPORTED;
    }
    return field <= 6 && !(gpu->model->ecc && (gpu->ecc || field == 1)) ? NVML_NOT_SUPPORTED : NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlField_t *fields) {
    struct sim_gpu gpu;
    struct timespec now;
    nvmlReturn_t result = core_device(device, &gpu);
    if (result) return result;
    if (count < 0 || (count && !fields)) return NVML_INVALID_ARGUMENT;
    clock_gettime(CLOCK_REALTIME, &now);
    for (int i = 0; i < count; i++) {
        long long value = 0;
        fields[i].timestamp_us = now.tv_sec * 1000000LL + now.tv_nsec / 1000;
        fields[i].latency_us = 0;
        fields[i].result = field_value(&gpu, fields[i].field, &value);
        fields[i].value.ull = 0;
        if (fields[i].field <= 6) {
            fields[i].value_type = NVML_VALUE_UNSIGNED_LONG_LONG;
            fields[i].value.ull = (unsigned long long)value;
        } else {
            fields[i].value_type = NVML_VALUE_UNSIGNED;
            fields[i].value.ui = (unsigned)value;
        }
    }
    return NVML_SUCCESS;
}
