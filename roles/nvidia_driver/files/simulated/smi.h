/* nvidia-smi stand-in: what its parts share. It asks NVML, like the real one, and never the state file. */
#ifndef ARENA_GPUSIM_SMI_H
#define ARENA_GPUSIM_SMI_H

#include <stdio.h>

#include "nvml_abi.h"

/* The NVML calls used, opened at run time: name, then parameters. */
#define SMI_CALLS(CALL) \
    CALL(nvmlInit_v2, (void)) \
    CALL(nvmlShutdown, (void)) \
    CALL(nvmlSystemGetDriverVersion, (char *, unsigned)) \
    CALL(nvmlSystemGetNVMLVersion, (char *, unsigned)) \
    CALL(nvmlSystemGetCudaDriverVersion_v2, (int *)) \
    CALL(nvmlDeviceGetCount_v2, (unsigned *)) \
    CALL(nvmlDeviceGetHandleByIndex_v2, (unsigned, nvmlDevice_t *)) \
    CALL(nvmlDeviceGetName, (nvmlDevice_t, char *, unsigned)) \
    CALL(nvmlDeviceGetUUID, (nvmlDevice_t, char *, unsigned)) \
    CALL(nvmlDeviceGetSerial, (nvmlDevice_t, char *, unsigned)) \
    CALL(nvmlDeviceGetMinorNumber, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetPciInfo_v3, (nvmlDevice_t, nvmlPci_t *)) \
    CALL(nvmlDeviceGetVbiosVersion, (nvmlDevice_t, char *, unsigned)) \
    CALL(nvmlDeviceGetMemoryInfo, (nvmlDevice_t, nvmlMemory_t *)) \
    CALL(nvmlDeviceGetUtilizationRates, (nvmlDevice_t, nvmlUtilization_t *)) \
    CALL(nvmlDeviceGetTemperature, (nvmlDevice_t, int, unsigned *)) \
    CALL(nvmlDeviceGetPowerUsage, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetEnforcedPowerLimit, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetPowerManagementDefaultLimit, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetPowerManagementLimitConstraints, (nvmlDevice_t, unsigned *, unsigned *)) \
    CALL(nvmlDeviceGetClockInfo, (nvmlDevice_t, int, unsigned *)) \
    CALL(nvmlDeviceGetMaxClockInfo, (nvmlDevice_t, int, unsigned *)) \
    CALL(nvmlDeviceGetCurrentClocksEventReasons, (nvmlDevice_t, unsigned long long *)) \
    CALL(nvmlDeviceGetTotalEccErrors, (nvmlDevice_t, int, int, unsigned long long *)) \
    CALL(nvmlDeviceGetEccMode, (nvmlDevice_t, unsigned *, unsigned *)) \
    CALL(nvmlDeviceGetMigMode, (nvmlDevice_t, unsigned *, unsigned *)) \
    CALL(nvmlDeviceGetRemappedRows, (nvmlDevice_t, unsigned *, unsigned *, unsigned *, unsigned *)) \
    CALL(nvmlDeviceGetRetiredPagesPendingStatus, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceValidateInforom, (nvmlDevice_t)) \
    CALL(nvmlDeviceGetComputeRunningProcesses_v3, (nvmlDevice_t, unsigned *, nvmlProcess_t *)) \
    CALL(nvmlDeviceGetPersistenceMode, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetComputeMode, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetCudaComputeCapability, (nvmlDevice_t, int *, int *)) \
    CALL(nvmlDeviceGetCurrPcieLinkGeneration, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetMaxPcieLinkGeneration, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetCurrPcieLinkWidth, (nvmlDevice_t, unsigned *)) \
    CALL(nvmlDeviceGetMaxPcieLinkWidth, (nvmlDevice_t, unsigned *))

#define DECLARE(name, parameters) extern nvmlReturn_t (*name) parameters;
SMI_CALLS(DECLARE)
#undef DECLARE
extern const char *(*nvmlErrorString)(nvmlReturn_t);

/* Open the library and initialise it; on failure say so as the real tool does and exit with its code. */
void smi_start(void);

/* "Unable to determine the device handle..." on standard output. */
void smi_say_lost(unsigned index, nvmlReturn_t why);

/* One field of one GPU as text, e.g. "memory.total" -> "40960 MiB" (units left out if bare); "[N/A]" if the GPU has no
 * such thing. -1: no such field. */
int smi_field(const char *name, unsigned index, unsigned count, nvmlDevice_t device, int bare, char *out, size_t size);

/* The column's heading, e.g. "memory.total [MiB]"; NULL: no such field. */
const char *smi_heading(const char *name);

void smi_help_fields(FILE *out);

#endif
