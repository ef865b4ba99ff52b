/*
 * Allocation that does not fail: out of memory ends the process with one line on stderr (a job is a
 * process of its own; its supervisor reports the loss). Everything returned is freed with free().
 */
#ifndef PGSEAL_COMMON_BASE_MEMORY_H
#define PGSEAL_COMMON_BASE_MEMORY_H

#include <stddef.h>

#include "common/base/error.h"

void *memory_alloc(size_t size) __attribute__((returns_nonnull, malloc));                 /* zeroed */
void *memory_resize(void *p, size_t count, size_t size) __attribute__((returns_nonnull)); /* overflow-checked */
char *memory_strdup(const char *text) __attribute__((returns_nonnull));
char *memory_strndup(const char *text, size_t size) __attribute__((returns_nonnull));
void *memory_dup(const void *data, size_t size) __attribute__((returns_nonnull));
char *memory_format(const char *format, ...) PRINTF_LIKE(1, 2);

/* Grows *array so that index `count` exists: `ARRAY_PUSH(a->items, a->count, item);` */
#define ARRAY_PUSH(array, count, item)                                                                                 \
  do {                                                                                                                 \
    if (((count) & ((count)-1)) == 0)                                                                                  \
      (array) = memory_resize((array), (count) ? (size_t)(count)*2 : 1, sizeof *(array));                              \
    (array)[(count)++] = (item);                                                                                       \
  } while (0)

#endif
