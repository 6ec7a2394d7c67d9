/* gpusim: what its parts share. */
#ifndef ARENA_GPUSIM_GPUSIM_H
#define ARENA_GPUSIM_GPUSIM_H

#include "state.h"

/* Say why on standard error and exit. */
__attribute__((noreturn, format(printf, 2, 3))) void fail(int status, const char *format, ...);

/* Device nodes for the first `count` GPUs and the control devices; count < 0: none at all. */
void nodes(long long count);

/* The driver's lines in the log: it was loaded (what comes before is of a driver that is no more); an XID. */
void say_loaded(void);
void say_xid(const struct sim_event *event);

#endif
