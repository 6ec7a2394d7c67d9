/* Find, read and parse the state file. Used by the NVML and CUDA stand-ins and by gpusim. */
#define _GNU_SOURCE
#include "state.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef DRIVER_VERSION
#define DRIVER_VERSION "580.95.05"
#endif

/* NVML's return codes by the names that the state file uses. */
const struct sim_name sim_faults[] = {
    {"none", 0}, {"ok", 0}, {"uninitialized", 1}, {"not_supported", 3}, {"no_permission", 4},
    {"insufficient_power", 8}, {"driver_not_loaded", 9}, {"irq_issue", 11}, {"corrupted_inforom", 14},
    {"lost", 15}, {"reset_required", 16}, {"operating_system", 17}, {"library_mismatch", 18}, {"unknown", 999},
    {NULL, 0},
};

const struct sim_name sim_throttles[] = {
    {"none", 0}, {"idle", 0x1}, {"clocks_setting", 0x2}, {"sw_power_cap", 0x4}, {"hw_slowdown", 0x8},
    {"sync_boost", 0x10}, {"sw_thermal", 0x20}, {"hw_thermal", 0x40}, {"power_brake", 0x80}, {NULL, 0},
};

#define G(key, member, kind, low, high) \
    {key, kind, offsetof(struct sim_state, member), sizeof ((struct sim_state *)0)->member, low, high}
const struct sim_field sim_global_fields[] = {
    G("driver_version", driver_version, SIM_TEXT, 0, 0),
    G("cuda_version", cuda_version, SIM_NUMBER, 1000, 99990),
    G("count", count, SIM_NUMBER, 0, SIM_MAX_GPUS),
    G("model", model, SIM_TEXT, 0, 0),
    G("memory_mib", memory_mib, SIM_NUMBER, 1, 16777216),
    G("seed", seed, SIM_TEXT, 0, 0),
    G("init", init, SIM_FAULT, 0, 0),
    {NULL, SIM_TEXT, 0, 0, 0, 0},
};

#define P(key, member, kind, low, high) \
    {key, kind, offsetof(struct sim_gpu, member), sizeof ((struct sim_gpu *)0)->member, low, high}
const struct sim_field sim_gpu_fields[] = {
    P("model", name, SIM_TEXT, 0, 0),
    P("uuid", uuid, SIM_TEXT, 0, 0),
    P("serial", serial, SIM_TEXT, 0, 0),
    P("vbios", vbios, SIM_TEXT, 0, 0),
    P("memory_mib", memory_mib, SIM_NUMBER, 1, 16777216),
    P("memory_used_mib", memory_used_mib, SIM_NUMBER, 0, 16777216),
    P("temperature", temperature, SIM_NUMBER, 0, 200),
    P("power_w", power_w, SIM_NUMBER, 0, 5000),
    P("power_limit_w", power_limit_w, SIM_NUMBER, 0, 5000),
    P("utilization", utilization, SIM_NUMBER, 0, 100),
    P("fault", fault, SIM_FAULT, 0, 0),
    P("inforom_corrupted", inforom_corrupted, SIM_NUMBER, 0, 1),
    P("ecc", ecc, SIM_NUMBER, 0, 1),
    P("ecc_corrected", ecc_corrected, SIM_NUMBER, 0, LLONG_MAX),
    P("ecc_uncorrected", ecc_uncorrected, SIM_NUMBER, 0, LLONG_MAX),
    P("remapped_correctable", remapped_correctable, SIM_NUMBER, 0, 512),
    P("remapped_uncorrectable", remapped_uncorrectable, SIM_NUMBER, 0, 512),
    P("remap_pending", remap_pending, SIM_NUMBER, 0, 1),
    P("remap_failure", remap_failure, SIM_NUMBER, 0, 1),
    P("retired_pending", retired_pending, SIM_NUMBER, 0, 1),
    P("throttle", throttle, SIM_THROTTLE, 0, 0),
    P("persistence", persistence, SIM_NUMBER, 0, 1),
    P("pcie_gen", pcie_gen, SIM_NUMBER, 1, SIM_PCIE_GEN),
    P("pcie_width", pcie_width, SIM_NUMBER, 1, SIM_PCIE_WIDTH),
    P("nvlink_down", nvlink_down, SIM_NUMBER, 0, 18),
    P("nvlink_errors", nvlink_errors, SIM_NUMBER, 0, LLONG_MAX),
    P("process", process, SIM_NUMBER, 0, 4194304),
    {NULL, SIM_TEXT, 0, 0, 0, 0},
};

const char *sim_name_of(const struct sim_name *names, long long value) {
    for (; names->name; names++)
        if (names->value == value) return names->name;
    return NULL;
}

static int name_value(const struct sim_name *names, const char *text, long long *value) {
    for (; names->name; names++)
        if (!strcmp(names->name, text)) { *value = names->value; return 0; }
    return -1;
}

static int throttle_value(const char *text, long long *value) {
    char copy[256], *rest = copy, *part, *end;
    long long bit;
    *value = strtoll(text, &end, 0);
    if (*text && !*end) return 0;
    if (strlen(text) >= sizeof copy) return -1;
    strcpy(copy, text);
    *value = 0;
    while ((part = strsep(&rest, ",")) != NULL) {
        if (name_value(sim_throttles, part, &bit)) return -1;
        *value |= bit;
    }
    return 0;
}

/* Put one value into its place in the struct at base; 0, or -1 with the reason in error. */
static int assign(const struct sim_field *field, void *base, const char *value, char *error, size_t size) {
    char *place = (char *)base + field->offset, *end;
    long long number = 0;
    if (field->kind == SIM_TEXT) {
        if (!*value || strlen(value) >= field->size) {
            snprintf(error, size, "%s must have 1 to %zu characters", field->key, field->size - 1);
            return -1;
        }
        strcpy(place, value);
        return 0;
    }
    if (field->kind == SIM_NUMBER) {
        errno = 0;
        number = strtoll(value, &end, 10);
        if (!*value || *end || errno || number < field->low || number > field->high) {
            snprintf(error, size, "%s must be a number from %lld to %lld, not \"%s\"", field->key, field->low,
                     field->high, value);
            return -1;
        }
    } else if (field->kind == SIM_FAULT ? name_value(sim_faults, value, &number) : throttle_value(value, &number)) {
        const struct sim_name *n = field->kind == SIM_FAULT ? sim_faults : sim_throttles;
        int used = snprintf(error, size, "%s does not know \"%s\"; it knows", field->key, value);
        for (; n->name && used > 0 && (size_t)used < size; n++)
            used += snprintf(error + used, size - (size_t)used, " %s", n->name);
        return -1;
    }
    memcpy(place, &number, sizeof number);
    return 0;
}

unsigned sim_bus(int minor) {
    static const unsigned buses[SIM_MAX_GPUS] = {0x07, 0x0f, 0x47, 0x4e, 0x87, 0x90, 0xb7, 0xbd,
                                                 0xc1, 0xc4, 0xc8, 0xcb, 0xd1, 0xd4, 0xd8, 0xdb};
    return buses[minor];
}

static unsigned long long fnv(const char *text, unsigned long long hash) {
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 1099511628211ULL;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;  /* mix: near texts must not give near numbers */
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
    return hash ^ (hash >> 31);
}

/* An identity that differs between hosts and stays: made from the seed and the GPU's number. */
static void identity(struct sim_gpu *gpu, const char *seed, int minor) {
    char text[80];
    snprintf(text, sizeof text, "%s/%d", seed, minor);
    unsigned long long a = fnv(text, 14695981039346656037ULL), b = fnv(text, a ^ 0x9e3779b97f4a7c15ULL);
    snprintf(gpu->uuid, sizeof gpu->uuid, "GPU-%08llx-%04llx-4%03llx-a%03llx-%012llx", a >> 32, (a >> 16) & 0xffff,
             a & 0xfff, (b >> 48) & 0xfff, b & 0xffffffffffffULL);
    snprintf(gpu->serial, sizeof gpu->serial, "%013llu", b % 10000000000000ULL);
}

static const struct sim_model *model_of(const char *name) {
    for (size_t i = 0; i < SIM_MODEL_COUNT; i++)
        if (!strcmp(sim_models[i].name, name)) return &sim_models[i];
    return &sim_models[0];  /* an unknown name keeps its name and behaves like the first model */
}

static void defaults(struct sim_state *state) {
    for (int i = 0; i < SIM_MAX_GPUS; i++) {
        struct sim_gpu *gpu = &state->gpu[i];
        if (!*gpu->name) strcpy(gpu->name, state->model);
        gpu->model = model_of(gpu->name);
        identity(gpu, state->seed, i);
        gpu->memory_mib = state->memory_mib ? state->memory_mib : gpu->model->memory_mib;
        gpu->temperature = 32 + i % 5;
        gpu->power_w = gpu->model->idle_w;
        gpu->power_limit_w = gpu->model->limit_w;
        gpu->throttle = 1;  /* idle */
        gpu->ecc = gpu->model->ecc;
        gpu->persistence = 1;
        gpu->pcie_gen = SIM_PCIE_GEN;
        gpu->pcie_width = SIM_PCIE_WIDTH;
        strcpy(gpu->vbios, "00.00.00.00.00");
    }
}

static int line_for_gpu(const char *key, int *minor, const char **rest) {
    char *end;
    if (strncmp(key, "gpu.", 4) || !isdigit((unsigned char)key[4])) return 0;
    long number = strtol(key + 4, &end, 10);
    if (*end != '.' || number >= SIM_MAX_GPUS) return 0;
    *minor = (int)number;
    *rest = end + 1;
    return 1;
}

static const struct sim_field *field_named(const struct sim_field *fields, const char *key) {
    for (; fields->key; fields++)
        if (!strcmp(fields->key, key)) return fields;
    return NULL;
}

static int add_event(struct sim_state *state, const char *key, const char *value, char *error, size_t size) {
    struct sim_event event;
    char tail;
    if (sscanf(key, "xid.%llu%c", &event.sequence, &tail) != 1 ||
        sscanf(value, "%d:%llu%c", &event.gpu, &event.xid, &tail) != 2 || event.gpu < 0 || event.gpu >= SIM_MAX_GPUS) {
        snprintf(error, size, "%s=%s is not xid.SEQUENCE=GPU:XID", key, value);
        return -1;
    }
    if (state->events == SIM_MAX_EVENTS)
        memmove(state->event, state->event + 1, sizeof event * (size_t)--state->events);
    state->event[state->events++] = event;
    if (event.sequence > state->last_sequence) state->last_sequence = event.sequence;
    return 0;
}

int sim_parse(char *text, struct sim_state *state, char *error, size_t size) {
    char reason[512];
    memset(state, 0, sizeof *state);
    snprintf(state->driver_version, sizeof state->driver_version, "%s", DRIVER_VERSION);
    snprintf(state->model, sizeof state->model, "%s", sim_models[0].name);
    state->cuda_version = 13000;
    /* Whole-host keys first, then each GPU's model, then the rest: later ones have defaults from the earlier. */
    for (int pass = 0; pass < 3; pass++) {
        char *copy = strdup(text), *rest = copy, *line;
        int number = 0, failed = 0;
        if (!copy) { snprintf(error, size, "out of memory"); return -1; }
        if (pass == 2) defaults(state);
        while (!failed && (line = strsep(&rest, "\n")) != NULL) {
            const char *key = line, *name;
            int minor;
            number++;
            if (!*line || *line == '#') continue;
            char *value = strchr(line, '=');
            if (!value) { failed = 1; snprintf(reason, sizeof reason, "no \"=\" in \"%.80s\"", line); break; }
            *value++ = 0;
            if (line_for_gpu(key, &minor, &name)) {
                const struct sim_field *field = field_named(sim_gpu_fields, name);
                int model = !strcmp(name, "model");
                if (!field) { failed = 1; snprintf(reason, sizeof reason, "unknown key \"%.80s\"", key); break; }
                if ((pass == 1 && model) || (pass == 2 && !model))
                    failed = assign(field, &state->gpu[minor], value, reason, sizeof reason) != 0;
            } else if (pass == 0 && !strncmp(key, "xid.", 4)) {
                failed = add_event(state, key, value, reason, sizeof reason) != 0;
            } else if (pass == 0) {
                const struct sim_field *field = field_named(sim_global_fields, key);
                if (!field) { failed = 1; snprintf(reason, sizeof reason, "unknown key \"%.80s\"", key); break; }
                failed = assign(field, state, value, reason, sizeof reason) != 0;
            }
        }
        free(copy);
        if (failed) { snprintf(error, size, "line %d: %s", number, reason); return -1; }
    }
    return 0;
}

char *sim_read(int fd) {
    const size_t limit = 65536;
    size_t used = 0;
    char *text = malloc(limit + 1);
    while (text && used < limit) {
        ssize_t got = read(fd, text + used, limit - used);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        used += (size_t)got;
    }
    if (text) text[used] = 0;
    return text;
}

int sim_load(const char *path, struct sim_state *state, char *error, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) { snprintf(error, size, "%s: %s", path, strerror(errno)); return -1; }
    (void)flock(fd, LOCK_SH);  /* on a file system without locks a half-written file is read at worst, and again */
    char *text = sim_read(fd);
    close(fd);
    if (!text) { snprintf(error, size, "out of memory"); return -1; }
    int result = sim_parse(text, state, error, size);
    free(text);
    return result;
}

/* The real path of the object this code is in: the shared library, or the program. */
static int own_file(char *path) {
    Dl_info info;
    return dladdr((void *)sim_models, &info) && info.dli_fname && realpath(info.dli_fname, path) ? 0 : -1;
}

const char *sim_library_version(void) {
    static _Thread_local char version[64];
    char path[PATH_MAX], *suffix;
    if (!own_file(path) && (suffix = strstr(path, ".so.")) != NULL && isdigit((unsigned char)suffix[4]) &&
        strchr(suffix + 4, '.')) {
        snprintf(version, sizeof version, "%.60s", suffix + 4);
        return version;
    }
    return DRIVER_VERSION;
}

static int take(char *found, const char *candidate) {
    if (strlen(candidate) >= PATH_MAX || access(candidate, R_OK)) return 0;
    strcpy(found, candidate);
    return 1;
}

const char *sim_path(void) {
    static char found[PATH_MAX];
    const char *env = getenv("ARENA_GPUSIM_STATE");
    char own[PATH_MAX], candidate[2 * PATH_MAX], *cut;
    if (env && *env) return env;
    if (*found || take(found, SIM_STATE_FILE)) return found;
    if (!own_file(own)) {
        /* /ROOT/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.N: look below /ROOT. */
        for (int up = 0; up < 6 && (cut = strrchr(own, '/')) != NULL; up++) {
            *cut = 0;
            snprintf(candidate, sizeof candidate, "%s%s", own, SIM_STATE_FILE);
            if (take(found, candidate)) return found;
        }
    }
    glob_t matches;
    if (!glob("/lib/firmware/nvidia/*/gsp_simulated.bin", 0, NULL, &matches)) {
        for (size_t i = 0; i < matches.gl_pathc && !*found; i++) take(found, matches.gl_pathv[i]);
        globfree(&matches);
    }
    return *found ? found : NULL;
}

int sim_node(const char *name) {
    const char *folder = getenv("ARENA_GPUSIM_DEV");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder && *folder ? folder : "/dev", name);
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) { close(fd); return 1; }
    return errno == ENXIO || errno == ENODEV;
}
