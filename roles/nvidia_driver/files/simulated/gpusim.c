/* gpusim: make, show and change the state of this host's simulated GPUs, and keep their device nodes in step.
 *
 *   gpusim init [key=value...]              make the state if there is none (keys as in set)
 *   gpusim set [gpu=N[,N...]|all] key=value...
 *   gpusim clear [gpu=N[,N...]|all]         healthy again: drop faults, counters and readings
 *   gpusim show [gpu=N]                     the lines of the file
 *   gpusim nodes [remove]                   make the device nodes that are missing and remove those too many, or remove
 *                                           all; prints each that it touches
 *
 * Exit status: 0 done, 1 failed, 2 usage. */
#define _GNU_SOURCE
#include "gpusim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_LINES 512

static char *lines[MAX_LINES];
static int line_count, state_fd = -1;

void fail(int status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("gpusim: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(status);
}

static const char *file_path(void) {
    const char *env = getenv("ARENA_GPUSIM_STATE");
    return env && *env ? env : SIM_STATE_FILE;
}

/* ---- lines of the file ---- */

static void add_line(const char *key, const char *value) {
    if (line_count == MAX_LINES) fail(1, "the state has more than %d lines", MAX_LINES);
    if (asprintf(&lines[line_count++], "%s=%s", key, value) < 0) fail(1, "out of memory");
}

static int has_key(const char *line, const char *key) {
    size_t length = strlen(key);
    return !strncmp(line, key, length) && line[length] == '=';
}

static void put(const char *key, const char *value) {
    for (int i = 0; i < line_count; i++)
        if (has_key(lines[i], key)) {
            if (asprintf(&lines[i], "%s=%s", key, value) < 0) fail(1, "out of memory");
            return;
        }
    add_line(key, value);
}

static const char *value_of(const char *key) {
    for (int i = 0; i < line_count; i++)
        if (has_key(lines[i], key)) return lines[i] + strlen(key) + 1;
    return NULL;
}

/* Drop the lines that start with prefix. */
static void drop(const char *prefix) {
    int kept = 0;
    for (int i = 0; i < line_count; i++)
        if (strncmp(lines[i], prefix, strlen(prefix))) lines[kept++] = lines[i];
    line_count = kept;
}

/* Open the file, lock it until this process ends, and read its lines. */
static void read_lines(int create) {
    state_fd = open(file_path(), (create ? O_RDWR | O_CREAT : O_RDWR) | O_CLOEXEC, 0644);
    if (state_fd < 0)
        fail(1, "cannot open %s: %s%s", file_path(), strerror(errno), errno == ENOENT ? " (make it with: gpusim init)" : "");
    if (flock(state_fd, LOCK_EX)) fail(1, "cannot lock %s: %s", file_path(), strerror(errno));
    char *rest = sim_read(state_fd), *line;
    if (!rest) fail(1, "out of memory");
    while ((line = strsep(&rest, "\n")) != NULL)
        if (*line && *line != '#') {
            if (line_count == MAX_LINES) fail(1, "the state has more than %d lines", MAX_LINES);
            lines[line_count++] = line;
        }
}

/* Check the new content, then write it over the old in place. Returns the parsed state. */
static struct sim_state *write_lines(void) {
    static struct sim_state state;
    char *text = NULL, *copy, error[600];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) fail(1, "out of memory");
    fputs("# Simulated GPUs of this host. Change it with gpusim.\n", out);
    for (int i = 0; i < line_count; i++) fprintf(out, "%s\n", lines[i]);
    fclose(out);
    if (!(copy = strdup(text))) fail(1, "out of memory");
    if (sim_parse(copy, &state, error, sizeof error)) {
        const char *reason = strchr(error, ':');  /* the line's number means nothing to who typed the value */
        fail(2, "%s", reason ? reason + 2 : error);
    }
    if (pwrite(state_fd, text, size, 0) != (ssize_t)size || ftruncate(state_fd, (off_t)size))
        fail(1, "cannot write %s: %s", file_path(), strerror(errno));
    return &state;
}

/* ---- commands ---- */

/* A host's own seed: what systemd calls its machine id, and its name beside it (clones share the former). */
static void make_seed(char *seed, size_t size) {
    char id[64] = "", name[128] = "";
    unsigned long long hash = 14695981039346656037ULL;
    FILE *file = fopen("/etc/machine-id", "re");
    if (file) {
        if (!fgets(id, sizeof id, file)) *id = 0;
        fclose(file);
    }
    gethostname(name, sizeof name - 1);
    strcat(id, "/");
    for (const char *p = id; *p; p++) hash = (hash ^ (unsigned char)*p) * 1099511628211ULL;
    for (const char *p = name; *p; p++) hash = (hash ^ (unsigned char)*p) * 1099511628211ULL;
    snprintf(seed, size, "%016llx", hash);
}

/* "2", "0,3" or "all" to a list of GPU numbers; how many. */
static int gpus_of(const char *text, int count, int *list) {
    int found = 0;
    if (!strcmp(text, "all")) {
        for (int i = 0; i < count; i++) list[found++] = i;
        return found;
    }
    while (*text) {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || number < 0 || number >= count || found == SIM_MAX_GPUS)
            fail(2, "gpu=%s: this host's GPUs are 0 to %d, or all", text, count - 1);
        list[found++] = (int)number;
        text = *end ? end + 1 : end;
    }
    return found;
}

/* The number of the newest XID in the lines. */
static unsigned long long last_xid(void) {
    unsigned long long last = 0, number;
    for (int i = 0; i < line_count; i++)
        if (!strncmp(lines[i], "xid.", 4) && (number = strtoull(lines[i] + 4, NULL, 10)) > last) last = number;
    return last;
}

static void raise_xid(int gpu, const char *xid) {
    char key[32], value[64];
    const char *oldest = NULL;
    int events = 0;
    for (int i = 0; i < line_count; i++)
        if (!strncmp(lines[i], "xid.", 4) && !events++) oldest = lines[i];
    unsigned long long sequence = last_xid() + 1;
    if (events == SIM_MAX_EVENTS) drop(oldest);
    snprintf(key, sizeof key, "xid.%llu", sequence);
    snprintf(value, sizeof value, "%d:%s", gpu, xid);
    put(key, value);
}

static void set(int argc, char **argv) {
    int list[SIM_MAX_GPUS], chosen = 0;
    const char *count_text = value_of("count");
    int count = count_text ? atoi(count_text) : 0;
    for (int i = 0; i < argc; i++) {
        char *value = strchr(argv[i], '='), key[80];
        if (!strcmp(argv[i], "all")) { chosen = gpus_of("all", count, list); continue; }
        if (!value || value == argv[i] || strchr(argv[i], '\n')) fail(2, "\"%s\" is not key=value", argv[i]);
        *value++ = 0;
        if (!strcmp(argv[i], "gpu")) { chosen = gpus_of(value, count, list); continue; }
        int whole = 0;
        for (const struct sim_field *field = sim_global_fields; field->key; field++) whole |= !strcmp(field->key, argv[i]);
        if (!strcmp(argv[i], "xid") && !chosen) fail(2, "xid=%s needs gpu=N before it", value);
        if (!chosen) {
            if (!whole) fail(2, "\"%s\" is not a key of the whole host; say gpu=N before it", argv[i]);
            put(argv[i], value);
            continue;
        }
        for (int g = 0; g < chosen; g++) {
            if (!strcmp(argv[i], "xid")) { raise_xid(list[g], value); continue; }
            snprintf(key, sizeof key, "gpu.%d.%.60s", list[g], argv[i]);
            put(key, value);
            /* A GPU that falls off the bus says so: XID 79, as the real driver reports it. */
            if (!strcmp(argv[i], "fault") && !strcmp(value, "lost")) raise_xid(list[g], "79");
        }
    }
}

static void clear(int argc, char **argv) {
    static const char *const kept[] = {"model", "uuid", "serial", "vbios", "memory_mib", NULL};
    int list[SIM_MAX_GPUS], chosen;
    const char *count_text = value_of("count"), *which = "all";
    char prefix[80], key[80], value[120];
    struct { char key[80], value[120]; } saved[5];
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "gpu=", 4)) which = argv[i] + 4;
        else if (strcmp(argv[i], "all")) fail(2, "clear takes gpu=N or all, not \"%s\"", argv[i]);
    }
    chosen = gpus_of(which, count_text ? atoi(count_text) : 0, list);
    for (int g = 0; g < chosen; g++) {
        int saves = 0;
        for (int k = 0; kept[k]; k++) {
            snprintf(key, sizeof key, "gpu.%d.%s", list[g], kept[k]);
            const char *now = value_of(key);
            if (!now) continue;
            snprintf(value, sizeof value, "%s", now);
            strcpy(saved[saves].key, key);
            strcpy(saved[saves++].value, value);
        }
        snprintf(prefix, sizeof prefix, "gpu.%d.", list[g]);
        drop(prefix);
        for (int s = 0; s < saves; s++) put(saved[s].key, saved[s].value);
    }
    if (!strcmp(which, "all")) {
        put("init", "ok");
        say_loaded();
    }
    /* Past XIDs stay: they carry the numbering that waiting processes count by. */
}

static void help(FILE *out) {
    fputs("usage: gpusim init [key=value...] | set [gpu=N[,N]|all] key=value... | clear [gpu=N|all] | show [gpu=N] | nodes [remove]\n"
          "keys of the host:", out);
    for (const struct sim_field *f = sim_global_fields; f->key; f++) fprintf(out, " %s", f->key);
    fputs("\nkeys of a GPU:   ", out);
    for (const struct sim_field *f = sim_gpu_fields; f->key; f++) fprintf(out, " %s", f->key);
    fputs(" xid\nfault, init:     ", out);
    for (const struct sim_name *n = sim_faults; n->name; n++) fprintf(out, " %s", n->name);
    fputs("\nthrottle:        ", out);
    for (const struct sim_name *n = sim_throttles; n->name; n++) fprintf(out, " %s", n->name);
    fprintf(out, " (several with commas)\nstate file:       %s\n", file_path());
}

int main(int argc, char **argv) {
    const char *verb = argc > 1 ? argv[1] : "";
    char seed[48], *slash, folder[4096];
    struct sim_state *state;
    umask(022);
    if (!strcmp(verb, "help") || !strcmp(verb, "--help") || !strcmp(verb, "-h")) { help(stdout); return 0; }
    if (!strcmp(verb, "init")) {
        snprintf(folder, sizeof folder, "%s", file_path());
        if ((slash = strrchr(folder, '/')) != NULL && slash != folder) {
            *slash = 0;
            if (mkdir(folder, 0755) && errno != EEXIST) fail(1, "cannot make %s: %s", folder, strerror(errno));
        }
        read_lines(1);
        if (line_count) return 0;
        make_seed(seed, sizeof seed);
        add_line("driver_version", sim_library_version());
        add_line("cuda_version", "13000");
        add_line("count", "4");
        add_line("model", sim_models[0].name);
        add_line("seed", seed);
        add_line("init", "ok");
        set(argc - 2, argv + 2);
        write_lines();
        return 0;
    }
    if (!strcmp(verb, "set") && argc > 2) {
        read_lines(0);
        int before = value_of("count") ? atoi(value_of("count")) : 0;
        unsigned long long known = last_xid();
        set(argc - 2, argv + 2);
        state = write_lines();
        for (int i = 0; i < state->events; i++)
            if (state->event[i].sequence > known) say_xid(&state->event[i]);
        if (state->count != before && !getenv("ARENA_GPUSIM_STATE") && !geteuid()) nodes(state->count);
        return 0;
    }
    if (!strcmp(verb, "clear")) {
        read_lines(0);
        clear(argc - 2, argv + 2);
        write_lines();
        return 0;
    }
    if (!strcmp(verb, "show")) {
        char prefix[64] = "";
        read_lines(0);
        if (argc > 2 && !strncmp(argv[2], "gpu=", 4)) snprintf(prefix, sizeof prefix, "gpu.%.20s.", argv[2] + 4);
        for (int i = 0; i < line_count; i++)
            if (!strncmp(lines[i], prefix, strlen(prefix))) puts(lines[i]);
        return 0;
    }
    if (!strcmp(verb, "nodes") && argc > 2 && !strcmp(argv[2], "remove")) { nodes(-1); return 0; }
    if (!strcmp(verb, "nodes")) {
        static struct sim_state now;
        char error[600];
        if (sim_load(file_path(), &now, error, sizeof error)) fail(1, "%s", error);
        nodes(now.count);
        return 0;
    }
    help(stderr);
    return 2;
}
