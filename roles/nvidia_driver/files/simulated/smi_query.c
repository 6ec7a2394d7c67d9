/* The fields of --query-gpu: each is a heading, a unit and how to ask for it. */
#define _GNU_SOURCE
#include "smi.h"

#include <string.h>
#include <time.h>

enum ask { A_TIME, A_DRIVER, A_COUNT, A_INDEX, A_NAME, A_UUID, A_SERIAL, A_MINOR, A_BUS, A_PCI_BUS, A_PCI_DOMAIN,
           A_PCI_ID, A_VBIOS, A_MEMORY, A_GPU_BUSY, A_MEMORY_BUSY, A_HEAT, A_POWER, A_LIMIT, A_DEFAULT_LIMIT, A_MIN_LIMIT,
           A_MAX_LIMIT, A_CLOCK, A_MAX_CLOCK, A_REASONS, A_REASON, A_ECC, A_ECC_MODE, A_MIG, A_REMAP, A_PERSISTENCE,
           A_COMPUTE_MODE, A_CAPABILITY, A_PSTATE, A_LINK, A_RETIRED, A_NONE };

struct field { const char *name, *unit; enum ask ask; int which; };

static const struct field fields[] = {
    {"timestamp", "", A_TIME, 0}, {"driver_version", "", A_DRIVER, 0}, {"count", "", A_COUNT, 0},
    {"index", "", A_INDEX, 0}, {"name", "", A_NAME, 0}, {"gpu_name", "", A_NAME, 0}, {"uuid", "", A_UUID, 0},
    {"gpu_uuid", "", A_UUID, 0}, {"serial", "", A_SERIAL, 0}, {"gpu_serial", "", A_SERIAL, 0},
    {"minor_number", "", A_MINOR, 0}, {"pci.bus_id", "", A_BUS, 0}, {"gpu_bus_id", "", A_BUS, 0}, {"pci.bus", "", A_PCI_BUS, 0},
    {"pci.domain", "", A_PCI_DOMAIN, 0}, {"pci.device_id", "", A_PCI_ID, 0}, {"vbios_version", "", A_VBIOS, 0},
    {"memory.total", "MiB", A_MEMORY, 0}, {"memory.used", "MiB", A_MEMORY, 1}, {"memory.free", "MiB", A_MEMORY, 2},
    {"memory.reserved", "MiB", A_MEMORY, 3}, {"utilization.gpu", "%", A_GPU_BUSY, 0},
    {"utilization.memory", "%", A_MEMORY_BUSY, 0}, {"temperature.gpu", "", A_HEAT, 0}, {"temperature.memory", "", A_NONE, 0},
    {"power.draw", "W", A_POWER, 0}, {"power.draw.average", "W", A_POWER, 0}, {"power.draw.instant", "W", A_POWER, 0},
    {"power.limit", "W", A_LIMIT, 0}, {"enforced.power.limit", "W", A_LIMIT, 0},
    {"power.default_limit", "W", A_DEFAULT_LIMIT, 0}, {"power.min_limit", "W", A_MIN_LIMIT, 0},
    {"power.max_limit", "W", A_MAX_LIMIT, 0}, {"clocks.gr", "MHz", A_CLOCK, 0}, {"clocks.current.graphics", "MHz", A_CLOCK, 0},
    {"clocks.sm", "MHz", A_CLOCK, 1}, {"clocks.current.sm", "MHz", A_CLOCK, 1}, {"clocks.mem", "MHz", A_CLOCK, 2},
    {"clocks.current.memory", "MHz", A_CLOCK, 2}, {"clocks.max.gr", "MHz", A_MAX_CLOCK, 0},
    {"clocks.max.sm", "MHz", A_MAX_CLOCK, 1}, {"clocks.max.mem", "MHz", A_MAX_CLOCK, 2},
    {"clocks_event_reasons.active", "", A_REASONS, 0}, {"clocks_throttle_reasons.active", "", A_REASONS, 0},
    {"clocks_event_reasons.gpu_idle", "", A_REASON, 0x1}, {"clocks_throttle_reasons.gpu_idle", "", A_REASON, 0x1},
    {"clocks_event_reasons.sw_power_cap", "", A_REASON, 0x4}, {"clocks_throttle_reasons.sw_power_cap", "", A_REASON, 0x4},
    {"clocks_event_reasons.hw_slowdown", "", A_REASON, 0x8}, {"clocks_throttle_reasons.hw_slowdown", "", A_REASON, 0x8},
    {"clocks_event_reasons.sw_thermal_slowdown", "", A_REASON, 0x20},
    {"clocks_throttle_reasons.sw_thermal_slowdown", "", A_REASON, 0x20},
    {"clocks_event_reasons.hw_thermal_slowdown", "", A_REASON, 0x40},
    {"clocks_throttle_reasons.hw_thermal_slowdown", "", A_REASON, 0x40},
    {"clocks_event_reasons.hw_power_brake_slowdown", "", A_REASON, 0x80},
    {"clocks_throttle_reasons.hw_power_brake_slowdown", "", A_REASON, 0x80},
    {"ecc.mode.current", "", A_ECC_MODE, 0}, {"ecc.mode.pending", "", A_ECC_MODE, 1},
    {"ecc.errors.corrected.volatile.total", "", A_ECC, 0}, {"ecc.errors.uncorrected.volatile.total", "", A_ECC, 1},
    {"ecc.errors.corrected.aggregate.total", "", A_ECC, 0}, {"ecc.errors.uncorrected.aggregate.total", "", A_ECC, 1},
    {"ecc.errors.corrected.volatile.dram", "", A_ECC, 0}, {"ecc.errors.uncorrected.volatile.dram", "", A_ECC, 1},
    {"remapped_rows.correctable", "", A_REMAP, 0}, {"remapped_rows.uncorrectable", "", A_REMAP, 1},
    {"remapped_rows.pending", "", A_REMAP, 2}, {"remapped_rows.failure", "", A_REMAP, 3},
    {"retired_pages.pending", "", A_RETIRED, 0}, {"mig.mode.current", "", A_MIG, 0}, {"mig.mode.pending", "", A_MIG, 1},
    {"persistence_mode", "", A_PERSISTENCE, 0}, {"compute_mode", "", A_COMPUTE_MODE, 0}, {"compute_cap", "", A_CAPABILITY, 0},
    {"pstate", "", A_PSTATE, 0}, {"fan.speed", "%", A_NONE, 0}, {"pcie.link.gen.current", "", A_LINK, 0},
    {"pcie.link.gen.max", "", A_LINK, 1}, {"pcie.link.width.current", "", A_LINK, 2}, {"pcie.link.width.max", "", A_LINK, 3},
};

#define FIELDS (sizeof fields / sizeof fields[0])

static const struct field *named(const char *name) {
    for (size_t i = 0; i < FIELDS; i++)
        if (!strcmp(fields[i].name, name)) return &fields[i];
    return NULL;
}

const char *smi_heading(const char *name) {
    static char text[96];
    const struct field *field = named(name);
    if (!field) return NULL;
    snprintf(text, sizeof text, *field->unit ? "%s [%s]" : "%s", field->name, field->unit);
    return text;
}

void smi_help_fields(FILE *out) {
    for (size_t i = 0; i < FIELDS; i++) fprintf(out, "%s\n", fields[i].name);
}

/* Whole watts come from milliwatts with two decimals; every other number is whole. */
static nvmlReturn_t number(const struct field *field, nvmlDevice_t device, long long *out) {
    nvmlMemory_t memory;
    nvmlUtilization_t busy;
    unsigned a = 0, b = 0, rows[4];
    unsigned long long big = 0;
    nvmlReturn_t result = NVML_NOT_SUPPORTED;
    switch (field->ask) {
    case A_MINOR: result = nvmlDeviceGetMinorNumber(device, &a); break;
    case A_MEMORY:
        if ((result = nvmlDeviceGetMemoryInfo(device, &memory)) == 0)
            *out = (long long)((field->which == 0 ? memory.total : field->which == 1 ? memory.used : field->which == 2 ? memory.free : 0) >> 20);
        return result;
    case A_GPU_BUSY: if ((result = nvmlDeviceGetUtilizationRates(device, &busy)) == 0) a = busy.gpu; break;
    case A_MEMORY_BUSY: if ((result = nvmlDeviceGetUtilizationRates(device, &busy)) == 0) a = busy.memory; break;
    case A_HEAT: result = nvmlDeviceGetTemperature(device, 0, &a); break;
    case A_POWER: result = nvmlDeviceGetPowerUsage(device, &a); break;
    case A_LIMIT: result = nvmlDeviceGetEnforcedPowerLimit(device, &a); break;
    case A_DEFAULT_LIMIT: result = nvmlDeviceGetPowerManagementDefaultLimit(device, &a); break;
    case A_MIN_LIMIT: result = nvmlDeviceGetPowerManagementLimitConstraints(device, &a, &b); break;
    case A_MAX_LIMIT: result = nvmlDeviceGetPowerManagementLimitConstraints(device, &b, &a); break;
    case A_CLOCK: result = nvmlDeviceGetClockInfo(device, field->which, &a); break;
    case A_MAX_CLOCK: result = nvmlDeviceGetMaxClockInfo(device, field->which, &a); break;
    case A_REASONS: case A_REASON: result = nvmlDeviceGetCurrentClocksEventReasons(device, &big); *out = (long long)big; return result;
    case A_ECC: result = nvmlDeviceGetTotalEccErrors(device, field->which, 0, &big); *out = (long long)big; return result;
    case A_ECC_MODE: result = nvmlDeviceGetEccMode(device, &a, &b); a = field->which ? b : a; break;
    case A_MIG: result = nvmlDeviceGetMigMode(device, &a, &b); a = field->which ? b : a; break;
    case A_REMAP: if ((result = nvmlDeviceGetRemappedRows(device, &rows[0], &rows[1], &rows[2], &rows[3])) == 0) a = rows[field->which]; break;
    case A_RETIRED: result = nvmlDeviceGetRetiredPagesPendingStatus(device, &a); break;
    case A_PERSISTENCE: result = nvmlDeviceGetPersistenceMode(device, &a); break;
    case A_COMPUTE_MODE: result = nvmlDeviceGetComputeMode(device, &a); break;
    case A_LINK:
        result = field->which == 0 ? nvmlDeviceGetCurrPcieLinkGeneration(device, &a) : field->which == 1 ? nvmlDeviceGetMaxPcieLinkGeneration(device, &a)
               : field->which == 2 ? nvmlDeviceGetCurrPcieLinkWidth(device, &a) : nvmlDeviceGetMaxPcieLinkWidth(device, &a);
        break;
    default: break;
    }
    *out = a;
    return result;
}

/* Fields that are text by nature; NVML_NO_DATA: not one of them. */
static nvmlReturn_t words(const struct field *field, unsigned index, unsigned count, nvmlDevice_t device, char *out, size_t size) {
    nvmlPci_t pci;
    int major, minor;
    nvmlReturn_t result = NVML_SUCCESS;
    struct timespec now;
    struct tm parts;
    switch (field->ask) {
    case A_TIME:
        clock_gettime(CLOCK_REALTIME, &now);
        localtime_r(&now.tv_sec, &parts);
        strftime(out, size, "%Y/%m/%d %H:%M:%S", &parts);
        snprintf(out + strlen(out), size - strlen(out), ".%03ld", now.tv_nsec / 1000000);
        break;
    case A_DRIVER: result = nvmlSystemGetDriverVersion(out, (unsigned)size); break;
    case A_COUNT: snprintf(out, size, "%u", count); break;
    case A_INDEX: snprintf(out, size, "%u", index); break;
    case A_NAME: result = nvmlDeviceGetName(device, out, (unsigned)size); break;
    case A_UUID: result = nvmlDeviceGetUUID(device, out, (unsigned)size); break;
    case A_SERIAL: result = nvmlDeviceGetSerial(device, out, (unsigned)size); break;
    case A_VBIOS: result = nvmlDeviceGetVbiosVersion(device, out, (unsigned)size); break;
    case A_PSTATE: snprintf(out, size, "P0"); break;
    case A_BUS: case A_PCI_BUS: case A_PCI_DOMAIN: case A_PCI_ID:
        if ((result = nvmlDeviceGetPciInfo_v3(device, &pci)) != 0) break;
        if (field->ask == A_BUS) snprintf(out, size, "%s", pci.id);
        else if (field->ask == A_PCI_BUS) snprintf(out, size, "0x%02X", pci.bus);
        else if (field->ask == A_PCI_DOMAIN) snprintf(out, size, "0x%04X", pci.domain);
        else snprintf(out, size, "0x%08X", pci.device_vendor);
        break;
    case A_CAPABILITY:
        if ((result = nvmlDeviceGetCudaComputeCapability(device, &major, &minor)) == 0) snprintf(out, size, "%d.%d", major, minor);
        break;
    default: result = NVML_NO_DATA;
    }
    return result;
}

int smi_field(const char *name, unsigned index, unsigned count, nvmlDevice_t device, int bare, char *out, size_t size) {
    const struct field *field = named(name);
    long long value = 0;
    if (!field) return -1;
    nvmlReturn_t result = words(field, index, count, device, out, size);
    if (result == NVML_SUCCESS) return 0;
    if (result == NVML_NO_DATA) result = number(field, device, &value);
    if (result) {
        snprintf(out, size, result == NVML_NOT_SUPPORTED ? "[N/A]" : "[%s]", nvmlErrorString(result));
        return 0;
    }
    switch (field->ask) {
    case A_POWER: case A_LIMIT: case A_DEFAULT_LIMIT: case A_MIN_LIMIT: case A_MAX_LIMIT:
        snprintf(out, size, bare ? "%.2f" : "%.2f W", (double)value / 1000);
        break;
    case A_REASONS: snprintf(out, size, "0x%016llx", (unsigned long long)value); break;
    case A_REASON: snprintf(out, size, "%s", value & field->which ? "Active" : "Not Active"); break;
    case A_ECC_MODE: case A_MIG: case A_PERSISTENCE: snprintf(out, size, "%s", value ? "Enabled" : "Disabled"); break;
    case A_COMPUTE_MODE: snprintf(out, size, "Default"); break;
    case A_RETIRED: snprintf(out, size, "%s", value ? "Yes" : "No"); break;
    case A_REMAP:
        if (field->which >= 2) { snprintf(out, size, "%s", value ? "Yes" : "No"); break; }
        /* fall through */
    default: snprintf(out, size, bare || !*field->unit ? "%lld" : "%lld %s", value, field->unit);
    }
    return 0;
}
