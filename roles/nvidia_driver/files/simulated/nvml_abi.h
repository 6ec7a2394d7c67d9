/* The binary interface of NVML as far as the stand-in speaks it: our own declarations of the published layouts. */
#ifndef ARENA_GPUSIM_NVML_ABI_H
#define ARENA_GPUSIM_NVML_ABI_H

typedef struct nvml_device *nvmlDevice_t;
typedef struct nvml_event_set *nvmlEventSet_t;

typedef enum {
    NVML_SUCCESS = 0, NVML_UNINITIALIZED = 1, NVML_INVALID_ARGUMENT = 2, NVML_NOT_SUPPORTED = 3,
    NVML_NO_PERMISSION = 4, NVML_ALREADY_INITIALIZED = 5, NVML_NOT_FOUND = 6, NVML_INSUFFICIENT_SIZE = 7,
    NVML_INSUFFICIENT_POWER = 8, NVML_DRIVER_NOT_LOADED = 9, NVML_TIMEOUT = 10, NVML_IRQ_ISSUE = 11,
    NVML_LIBRARY_NOT_FOUND = 12, NVML_FUNCTION_NOT_FOUND = 13, NVML_CORRUPTED_INFOROM = 14, NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16, NVML_OPERATING_SYSTEM = 17, NVML_LIB_RM_VERSION_MISMATCH = 18, NVML_IN_USE = 19,
    NVML_MEMORY = 20, NVML_NO_DATA = 21, NVML_ARGUMENT_VERSION_MISMATCH = 25, NVML_UNKNOWN = 999
} nvmlReturn_t;

/* Versioned structs carry their size and version in their first member. */
#define NVML_VERSIONED(type, version) ((unsigned)(sizeof(type) | ((version) << 24)))

typedef struct {
    char legacy_id[16];
    unsigned domain, bus, device, device_vendor, subsystem;
    char id[32];
} nvmlPci_t;

typedef struct { unsigned version, domain, bus, device, device_vendor, subsystem, base_class, sub_class; char id[32]; } nvmlPciExt_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } nvmlMemory_v2_t;
typedef struct { unsigned long long total, free, used; } nvmlBar1_t;
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned max, high, partial, low, none; } nvmlRowHistogram_t;
typedef struct { unsigned version; int sensor, temperature; } nvmlTemperature_t;
typedef struct { unsigned version; int margin; } nvmlMargin_t;
typedef struct { unsigned version; char branch[80]; } nvmlBranch_t;
typedef struct { unsigned pid; unsigned long long used; } nvmlProcess_v1_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } nvmlProcess_t;

typedef struct {
    nvmlDevice_t device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
} nvmlEvent_t;

typedef union { double d; int si; unsigned ui; unsigned long ul; unsigned long long ull; long long sll; } nvmlValue_t;
typedef struct {
    unsigned field, scope;
    long long timestamp_us, latency_us;
    int value_type;
    nvmlReturn_t result;
    nvmlValue_t value;
} nvmlField_t;

enum { NVML_EVENT_XID = 0x8, NVML_EVENT_SINGLE_ECC = 0x1, NVML_EVENT_DOUBLE_ECC = 0x2 };
enum { NVML_VALUE_UNSIGNED = 1, NVML_VALUE_UNSIGNED_LONG_LONG = 3 };

#endif
