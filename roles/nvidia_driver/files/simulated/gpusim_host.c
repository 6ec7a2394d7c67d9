/* What gpusim changes on a host beside the state: the device nodes in /dev, and lines in the journal. */
#define _GNU_SOURCE
#include "gpusim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <syslog.h>
#include <unistd.h>

/* ---- the kernel's log ---- */

/* Say to this host's journal what the real driver would say to the kernel's log: a container host cannot write there. */
__attribute__((format(printf, 1, 2))) static void kernel_says(const char *format, ...) {
    va_list arguments;
    const char *env = getenv("ARENA_GPUSIM_STATE");
    if (env && *env) return;  /* not this host's GPUs */
    openlog("kernel", LOG_NDELAY, LOG_USER);
    va_start(arguments, format);
    vsyslog(LOG_ERR, format, arguments);
    va_end(arguments);
    closelog();
}

/* NVIDIA's open module drives Turing and later, the other one is the only one for what is older. Read without sim_load's
 * lock: the caller may hold it. */
static int open_module(void) {
    static struct sim_state state;
    char error[600], *text = NULL;
    const char *path = sim_path();
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        text = sim_read(fd);
        close(fd);
    }
    int older = text && !sim_parse(text, &state, error, sizeof error) && state.gpu[0].model->architecture < 6;
    free(text);
    return !older;
}

void say_loaded(void) {
    kernel_says("NVRM: loading NVIDIA UNIX %s  %s  (simulated)",
                open_module() ? "Open Kernel Module for x86_64" : "x86_64 Kernel Module", sim_library_version());
}

void say_xid(const struct sim_event *event) {
    kernel_says("NVRM: Xid (PCI:0000:%02x:00): %llu, %s (simulated)", sim_bus(event->gpu), event->xid,
                event->xid == 79 ? "GPU has fallen off the bus." : "pid='<unknown>', name=<unknown>");
}

/* ---- device nodes ---- */

/* Whether it had to be made. */
static int node(const char *folder, const char *name, unsigned major_number, unsigned minor_number) {
    char path[4096];
    struct stat now;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    dev_t wanted = makedev(major_number, minor_number);
    if (!lstat(path, &now)) {
        if (S_ISCHR(now.st_mode) && now.st_rdev == wanted) { (void)chmod(path, 0666); return 0; }
        fail(1, "%s exists and is not the character device %u:%u: is a real driver installed?", path, major_number, minor_number);
    }
    mode_t old = umask(0);
    int result = mknod(path, S_IFCHR | 0666, wanted);
    umask(old);
    if (result) fail(1, "cannot make %s: %s", path, strerror(errno));
    printf("made %s\n", path);
    return 1;
}

/* Remove a node of ours; one with other numbers is somebody else's. */
static void unnode(const char *folder, const char *name, unsigned major_number, unsigned minor_number) {
    char path[4096];
    struct stat now;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!lstat(path, &now) && S_ISCHR(now.st_mode) && now.st_rdev == makedev(major_number, minor_number) && !unlink(path))
        printf("removed %s\n", path);
}

/* 195 is NVIDIA's. Where a real driver holds it (a container host on a machine with GPUs) the nodes must not lead to
 * real hardware: 120 is reserved for local use. */
static unsigned node_major(void) {
    char line[128];
    unsigned number = 195, seen;
    FILE *file = fopen("/proc/devices", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%u", &seen) == 1 && seen == 195) number = 120;
    if (file) fclose(file);
    return number;
}

/* Minor numbers of what is not a GPU. The real nvidia-uvm has a major number of its own that the kernel hands out; any
 * such could be a live device here. */
static const struct { const char *name; unsigned minor; } control[] = {
    {"nvidiactl", 255}, {"nvidia-uvm", 253}, {"nvidia-uvm-tools", 252},
};

void nodes(long long count) {
    const char *folder = getenv("ARENA_GPUSIM_DEV");
    char name[32];
    unsigned number = node_major();
    if (!folder || !*folder) folder = "/dev";
    for (size_t i = 0; i < sizeof control / sizeof control[0]; i++)
        if (count < 0) unnode(folder, control[i].name, number, control[i].minor);
        else if (node(folder, control[i].name, number, control[i].minor) && !i) say_loaded();  /* a host that starts */
    for (unsigned i = 0; i < SIM_MAX_GPUS; i++) {
        snprintf(name, sizeof name, "nvidia%u", i);
        if ((long long)i < count) node(folder, name, number, i);
        else unnode(folder, name, number, i);
    }
}
