/* The state of the simulated GPUs: one text file that every part reads at run time and only gpusim writes.
 *
 * Lines are key=value; a key that starts with "gpu.N." is about GPU N (its minor number). The file is always
 * rewritten in place under an exclusive lock, never replaced: containers see it through a bind mount of the file,
 * which would go on showing a replaced one's old content. */
#ifndef ARENA_GPUSIM_STATE_H
#define ARENA_GPUSIM_STATE_H

#include <stddef.h>

#include "models.h"

#define SIM_MAX_GPUS 16
#define SIM_MAX_EVENTS 32
#define SIM_PCIE_GEN 4                      /* what GPU and slot can do together */
#define SIM_PCIE_WIDTH 16
#define SIM_STATE_FILE "/var/lib/arena-gpusim/state"

struct sim_gpu {
    char name[96], uuid[96], serial[32], vbios[32];
    const struct sim_model *model;          /* figures that the state does not override */
    long long memory_mib, memory_used_mib;
    long long temperature;                  /* degrees Celsius */
    long long power_w, power_limit_w;
    long long utilization;                  /* percent */
    long long fault;                        /* what a handle answers with: an NVML return code, 0 when healthy */
    long long inforom_corrupted;
    long long ecc;                          /* whether memory errors are corrected and counted */
    long long ecc_corrected, ecc_uncorrected;
    long long remapped_correctable, remapped_uncorrectable, remap_pending, remap_failure;
    long long retired_pending;              /* pages to retire at the next reset, on GPUs that do not remap rows */
    long long throttle;                     /* NVML's bit mask of clock event reasons */
    long long persistence;                  /* the driver stays loaded when nobody uses the GPU */
    long long pcie_gen, pcie_width;         /* of the link as it is now */
    long long nvlink_down;                  /* how many of the model's links are inactive */
    long long nvlink_errors;                /* CRC errors on each link */
    long long process;                      /* id of the one process that uses the GPU, 0: none */
};

struct sim_event { unsigned long long sequence, xid; int gpu; };

struct sim_state {
    char driver_version[32];                /* of the "kernel module" */
    char model[96];
    char seed[48];                          /* UUIDs and serials are made from it */
    long long cuda_version;                 /* 13000 is 13.0 */
    long long count;
    long long memory_mib;                   /* of every GPU; 0: the model's */
    long long init;                         /* what nvmlInit answers, 0 when well */
    struct sim_gpu gpu[SIM_MAX_GPUS];
    struct sim_event event[SIM_MAX_EVENTS]; /* XIDs, oldest first */
    int events;
    unsigned long long last_sequence;
};

/* Where the state is: ARENA_GPUSIM_STATE, else SIM_STATE_FILE, else the same below the folder tree that holds this
 * library (a driver root mounted into a container), else the entry among the driver's firmware that the container
 * toolkit mounts. The answer stays the same for the life of the process once a file was found. NULL: nowhere. */
const char *sim_path(void);

/* Read and parse; 0, or -1 with a reason in error. Holds a shared lock while it reads. */
int sim_load(const char *path, struct sim_state *state, char *error, size_t size);

/* Parse a NUL-terminated text (modified in place); 0, or -1 with "line N: reason". */
int sim_parse(char *text, struct sim_state *state, char *error, size_t size);

/* The whole file (at most 64 KiB) as a fresh NUL-terminated string; NULL when out of memory. */
char *sim_read(int fd);

/* Is the device node there and may this process open it? name is "nvidia0", "nvidiactl"... A node without a kernel
 * module behind it answers ENXIO, which counts as there; a device cgroup's EPERM does not. */
int sim_node(const char *name);

/* The version in this library's own file name (libX.so.580.95.05), else the one it was built with. */
const char *sim_library_version(void);

/* PCI bus number of a GPU. */
unsigned sim_bus(int minor);

/* Names for numbers: the faults and throttle reasons of the state file. */
struct sim_name { const char *name; long long value; };
extern const struct sim_name sim_faults[], sim_throttles[];
const char *sim_name_of(const struct sim_name *names, long long value);

/* The fields of the file, for parsing and for gpusim's help. */
enum sim_kind { SIM_TEXT, SIM_NUMBER, SIM_FAULT, SIM_THROTTLE };
struct sim_field { const char *key; enum sim_kind kind; size_t offset, size; long long low, high; };
extern const struct sim_field sim_global_fields[], sim_gpu_fields[];

#endif
