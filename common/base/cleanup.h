/*
 * Scope-exit cleanup by attribute, as in systemd.
 *
 *   CLEANUP(buffer_release) Buffer line = {0};
 *   CLEANUP_FREE char *name = strdup("x");
 *   return STEAL(name);               // hands ownership out; the local is NULL afterwards
 */
#ifndef PGSEAL_COMMON_BASE_CLEANUP_H
#define PGSEAL_COMMON_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))

static inline void cleanup_free(void *p) {
  free(*(void **)p);
}
static inline void cleanup_close(int *fd) {
  if (*fd >= 0)
    close(*fd);
}
static inline void cleanup_fclose(FILE **f) {
  if (*f)
    fclose(*f);
}
#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose)

#define STEAL(p)                                                                                                       \
  __extension__({                                                                                                      \
    __typeof__(p) stolen = (p);                                                                                        \
    (p) = NULL;                                                                                                        \
    stolen;                                                                                                            \
  })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#endif
