/* Reach NVML, and fail as the real nvidia-smi does when it cannot. */
#define _GNU_SOURCE
#include "smi.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define DEFINE(name, parameters) nvmlReturn_t (*name) parameters;
SMI_CALLS(DEFINE)
const char *(*nvmlErrorString)(nvmlReturn_t);

static void *library;

static void *symbol(const char *name) {
    void *found = dlsym(library, name);
    if (!found) {
        printf("Failed to initialize NVML: Function Not Found (%s)\n", name);
        exit(NVML_FUNCTION_NOT_FOUND);
    }
    return found;
}

void smi_start(void) {
    char version[96] = "unknown", *rest;
    library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display "
             "Driver is properly installed and present in your system.\n"
             "Please also try adding directory that contains libnvidia-ml.so to your system PATH.");
        exit(NVML_LIBRARY_NOT_FOUND);
    }
    void *found;
#define FIND(name, parameters) found = symbol(#name); memcpy(&name, &found, sizeof found);
    SMI_CALLS(FIND)
    found = symbol("nvmlErrorString");
    memcpy(&nvmlErrorString, &found, sizeof found);

    nvmlReturn_t result = nvmlInit_v2();
    if (result == NVML_SUCCESS) return;
    if (result == NVML_DRIVER_NOT_LOADED) {
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
             "NVIDIA driver is installed and running.\n");
    } else {
        printf("Failed to initialize NVML: %s\n", nvmlErrorString(result));
        if (result == NVML_LIB_RM_VERSION_MISMATCH && !nvmlSystemGetNVMLVersion(version, sizeof version)) {
            rest = strchr(version, '.');
            printf("NVML library version: %s\n", rest ? rest + 1 : version);
        }
    }
    exit((int)result);
}

void smi_say_lost(unsigned index, nvmlReturn_t why) {
    printf("Unable to determine the device handle for GPU%u: %s.%s\n", index, nvmlErrorString(why),
           why == NVML_GPU_IS_LOST ? "  Reboot the system to recover this GPU" : "");
}
