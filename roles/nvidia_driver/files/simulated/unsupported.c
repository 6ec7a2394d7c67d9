/* Weak answers for every known entry point; the linker takes the real ones where they exist. */
__attribute__((visibility("default"))) int arena_gpusim_unsupported(void);
int arena_gpusim_unsupported(void) { return 3; }

#define X(name) int name(void) __attribute__((weak, visibility("default"), alias("arena_gpusim_unsupported")));
#include "entry_points.h"
