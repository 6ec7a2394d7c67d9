/* What the kinds of GPU look like to software: public figures of each product, one row a model. */
#ifndef ARENA_GPUSIM_MODELS_H
#define ARENA_GPUSIM_MODELS_H

struct sim_model {
    const char *name;        /* what NVML calls it, and what the state's "model" names */
    unsigned memory_mib;     /* total as NVML reports it, MiB */
    unsigned architecture;   /* NVML's number: 5 Volta, 6 Turing, 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell */
    unsigned cc_major, cc_minor;
    unsigned brand;          /* NVML's number: 2 Tesla, 5 GeForce, 14 NVIDIA */
    unsigned pci_device;     /* 16-bit PCI device id */
    unsigned idle_w, limit_w;
    unsigned sm_mhz, memory_mhz;
    unsigned cores, bus_bits;
    int mig;                 /* can be partitioned (MIG mode is reported as disabled, not as unsupported) */
    int ecc;
    int nvlinks;             /* to a switch; 0: none, or only with a bridge */
};

static const struct sim_model sim_models[] = {
    {"NVIDIA A100-SXM4-40GB", 40960, 7, 8, 0, 14, 0x20b0, 52, 400, 1410, 1215, 6912, 5120, 1, 1, 12},
    {"NVIDIA A100-SXM4-80GB", 81920, 7, 8, 0, 14, 0x20b2, 60, 400, 1410, 1593, 6912, 5120, 1, 1, 12},
    {"NVIDIA A100 80GB PCIe", 81920, 7, 8, 0, 14, 0x20b5, 44, 300, 1410, 1512, 6912, 5120, 1, 1, 0},
    {"NVIDIA A30", 24576, 7, 8, 0, 14, 0x20b7, 28, 165, 1440, 1215, 3584, 3072, 1, 1, 0},
    {"NVIDIA A10", 23028, 7, 8, 6, 14, 0x2236, 16, 150, 1695, 6251, 9216, 384, 0, 1, 0},
    {"NVIDIA L4", 23034, 8, 8, 9, 14, 0x27b8, 12, 72, 2040, 6251, 7424, 192, 0, 1, 0},
    {"NVIDIA L40S", 46068, 8, 8, 9, 14, 0x26b9, 34, 350, 2520, 9001, 18176, 384, 0, 1, 0},
    {"NVIDIA H100 80GB HBM3", 81559, 9, 9, 0, 14, 0x2330, 70, 700, 1980, 2619, 16896, 5120, 1, 1, 18},
    {"NVIDIA H100 PCIe", 81559, 9, 9, 0, 14, 0x2331, 48, 350, 1755, 1593, 14592, 5120, 1, 1, 0},
    {"NVIDIA H200", 143771, 9, 9, 0, 14, 0x2335, 75, 700, 1980, 3201, 16896, 6144, 1, 1, 18},
    {"NVIDIA B200", 183359, 10, 10, 0, 14, 0x2901, 140, 1000, 1965, 3996, 18944, 8192, 1, 1, 18},
    {"Tesla T4", 15360, 6, 7, 5, 2, 0x1eb8, 10, 70, 1590, 5001, 2560, 256, 0, 1, 0},
    {"Tesla V100-SXM2-32GB", 32768, 5, 7, 0, 2, 0x1db5, 42, 300, 1530, 877, 5120, 4096, 0, 1, 6},
    {"NVIDIA GeForce RTX 4090", 24564, 8, 8, 9, 5, 0x2684, 22, 450, 3105, 10501, 16384, 384, 0, 0, 0},
};

#define SIM_MODEL_COUNT (sizeof sim_models / sizeof sim_models[0])

#endif
