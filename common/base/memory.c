#include "common/base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void memory_exhausted(void) {
  static const char line[] = "pgseal: out of memory: give the process more, or lower the number of parallel jobs\n";
  /* write(2): stdio and the log may want to allocate */
  ssize_t ignored = write(STDERR_FILENO, line, sizeof line - 1);
  (void)ignored;
  _exit(70);
}

void *memory_alloc(size_t size) {
  void *p = calloc(1, size ? size : 1);
  if (!p)
    memory_exhausted();
  return p;
}

void *memory_resize(void *p, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes))
    memory_exhausted();
  void *resized = realloc(p, bytes ? bytes : 1);
  if (!resized)
    memory_exhausted();
  return resized;
}

char *memory_strdup(const char *text) {
  return memory_dup(text, strlen(text) + 1);
}

char *memory_strndup(const char *text, size_t size) {
  size_t length = strnlen(text, size);
  char *copy = memory_alloc(length + 1);
  memcpy(copy, text, length);
  return copy;
}

void *memory_dup(const void *data, size_t size) {
  void *copy = memory_resize(NULL, size, 1);
  if (size > 0)
    memcpy(copy, data, size);
  return copy;
}

char *memory_format(const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *text = NULL;
  int size = vasprintf(&text, format, args);
  va_end(args);
  if (size < 0)
    memory_exhausted();
  return text;
}
