/*
 * Names: finds what belongs to a name, however many there are. One value of each name; neither is owned: a name must
 * live as long as its entry. {0} is empty. Not for names that an enemy may choose in number: entries are made for what
 * is known (agents, jobs, databases); to look up may be done with anything.
 */
#ifndef PGSEAL_COMMON_BASE_NAMES_H
#define PGSEAL_COMMON_BASE_NAMES_H

#include <stddef.h>

typedef struct NamesEntry {
  const char *name; /* NULL: free */
  void *value;
} NamesEntry;

typedef struct Names {
  NamesEntry *entries;
  size_t count, room; /* room: a power of two, or 0 */
} Names;

void names_put(Names *names, const char *name, void *value); /* takes the place of what is there (its name, too) */
void *names_get(const Names *names, const char *name);       /* NULL: nothing */
void names_remove(Names *names, const char *name);           /* fine if there is nothing */
void names_release(Names *names);

#endif
