/* The other programs of pgseal. */
#ifndef PGSEAL_COMMON_BASE_PROGRAM_H
#define PGSEAL_COMMON_BASE_PROGRAM_H

/* Where `name` is: beside this very program, so that a build tree runs its own; else wherever PATH has it (the bare
 * name). Freed by the caller. */
char *program_path(const char *name);

#endif
