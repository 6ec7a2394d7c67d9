/* How a GPU is connected: PCI, NVLink, and what lies between two of them. */
#define _GNU_SOURCE
#include <stdio.h>

#include "getters.h"

/* ---- PCI ---- */
FILL_FROM(core_identity, nvmlDeviceGetPciInfo_v3, nvmlPci_t,
    memset(out, 0, sizeof *out);
    out->bus = sim_bus(device->minor);
    out->device_vendor = gpu.model->pci_device << 16 | 0x10de;
    out->subsystem = 0x000010de;
    snprintf(out->legacy_id, sizeof out->legacy_id, "0000:%02X:00.0", out->bus);
    snprintf(out->id, sizeof out->id, "00000000:%02X:00.0", out->bus);)

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

GET(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, SIM_PCIE_GEN)
GET(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, SIM_PCIE_GEN)
GET(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, gpu.pcie_gen)
GET(nvmlDeviceGetMaxPcieLinkWidth, unsigned, SIM_PCIE_WIDTH)
GET(nvmlDeviceGetCurrPcieLinkWidth, unsigned, gpu.pcie_width)
GET(nvmlDeviceGetPcieReplayCounter, unsigned, 0)
NUMBERED(nvmlDeviceGetPcieThroughput, unsigned, 0, 1, 0)

/* ---- between two GPUs: four on each processor's bus ---- */
BETWEEN(nvmlDeviceGetTopologyCommonAncestor, one == other ? 0 : one->minor / 4 == other->minor / 4 ? 40 : 50)
BETWEEN(nvmlDeviceOnSameBoard, one == other)

/* ---- NVLink: every link leads to a switch, as on boards whose GPUs are soldered on ---- */

static nvmlReturn_t link_of(nvmlDevice_t device, unsigned link, const void *out, struct sim_gpu *gpu) {
    nvmlReturn_t result = core_device(device, gpu);
    if (result) return result;
    if (!gpu->model->nvlinks) return NVML_NOT_SUPPORTED;
    return link < (unsigned)gpu->model->nvlinks && out ? NVML_SUCCESS : NVML_INVALID_ARGUMENT;
}

#define LINK(name, type, expression)                                            \
    API nvmlReturn_t name(nvmlDevice_t device, unsigned link, type *out) {      \
        struct sim_gpu gpu;                                                     \
        nvmlReturn_t result = link_of(device, link, out, &gpu);                 \
        if (!result) *out = (type)(expression);                                 \
        return result;                                                          \
    }

/* The last ones are down first. */
LINK(nvmlDeviceGetNvLinkState, unsigned, (long long)link < gpu.model->nvlinks - gpu.nvlink_down)
LINK(nvmlDeviceGetNvLinkVersion, unsigned, gpu.model->architecture < 7 ? 2 : gpu.model->architecture < 9 ? 3 : 4)
LINK(nvmlDeviceGetNvLinkRemoteDeviceType, unsigned, 2)  /* a switch */

/* Counters by number: replays, recoveries, CRC errors of flits, of data, ECC errors of data. */
API nvmlReturn_t nvmlDeviceGetNvLinkErrorCounter(nvmlDevice_t device, unsigned link, int counter, unsigned long long *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = link_of(device, link, out, &gpu);
    if (result) return result;
    if (counter < 0 || counter > 4) return NVML_INVALID_ARGUMENT;
    *out = counter == 2 ? (unsigned long long)gpu.nvlink_errors : 0;
    return NVML_SUCCESS;
}

API nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned link, nvmlPci_t *out) {
    struct sim_gpu gpu;
    nvmlReturn_t result = link_of(device, link, out, &gpu);
    if (result) return result;
    memset(out, 0, sizeof *out);
    out->bus = 0xe0 + link % 6;  /* a switch's: one of a GPU would make it a link to that GPU, from one side only */
    out->device_vendor = 0x1af110de;
    snprintf(out->legacy_id, sizeof out->legacy_id, "0000:%02X:00.0", out->bus);
    snprintf(out->id, sizeof out->id, "00000000:%02X:00.0", out->bus);
    return NVML_SUCCESS;
}
