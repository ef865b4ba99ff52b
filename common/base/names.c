/* Open addressing with linear probing; what is removed is closed up, so that nothing has to be rebuilt but to grow. */
#include "common/base/names.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

enum { ROOM_AT_FIRST = 16 };

/* FNV-1a, 64 bits. */
static uint64_t hash(const char *name) {
  uint64_t sum = 14695981039346656037u;
  for (; *name; name++)
    sum = (sum ^ (uint8_t)*name) * 1099511628211u;
  return sum ^ sum >> 32;
}

static size_t home(const Names *names, const char *name) {
  return (size_t)hash(name) & (names->room - 1);
}

static size_t after(const Names *names, size_t at) {
  return (at + 1) & (names->room - 1);
}

/* Where the name is, or where it would go. */
static size_t place(const Names *names, const char *name) {
  size_t at = home(names, name);
  while (names->entries[at].name && strcmp(names->entries[at].name, name) != 0)
    at = after(names, at);
  return at;
}

static void grow(Names *names) {
  Names larger = {.room = names->room ? names->room * 2 : ROOM_AT_FIRST, .count = names->count};
  larger.entries = memory_alloc(larger.room * sizeof *larger.entries);
  for (size_t i = 0; i < names->room; i++)
    if (names->entries[i].name)
      larger.entries[place(&larger, names->entries[i].name)] = names->entries[i];
  free(names->entries);
  *names = larger;
}

void names_put(Names *names, const char *name, void *value) {
  if ((names->count + 1) * 4 > names->room * 3)
    grow(names);
  NamesEntry *entry = &names->entries[place(names, name)];
  names->count += !entry->name;
  *entry = (NamesEntry){name, value};
}

void *names_get(const Names *names, const char *name) {
  return names->room ? names->entries[place(names, name)].value : NULL;
}

/* May the entry at `from` move to `hole`, without being looked for past it? */
static bool may_fill(const Names *names, size_t hole, size_t from) {
  size_t mask = names->room - 1;
  return ((from - home(names, names->entries[from].name)) & mask) >= ((from - hole) & mask);
}

void names_remove(Names *names, const char *name) {
  size_t hole = names->room ? place(names, name) : 0;
  if (!names->room || !names->entries[hole].name)
    return;
  names->count--;
  for (size_t at = after(names, hole); names->entries[at].name; at = after(names, at)) {
    if (!may_fill(names, hole, at))
      continue;
    names->entries[hole] = names->entries[at];
    hole = at;
  }
  names->entries[hole] = (NamesEntry){0};
}

void names_release(Names *names) {
  free(names->entries);
  *names = (Names){0};
}
