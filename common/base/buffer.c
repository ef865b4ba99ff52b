#include "common/base/buffer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

void buffer_release(Buffer *buffer) {
  free(buffer->data);
  *buffer = (Buffer){0};
}

void buffer_clear(Buffer *buffer) {
  buffer->size = 0;
  if (buffer->data)
    buffer->data[0] = 0;
}

void buffer_reserve(Buffer *buffer, size_t capacity) {
  if (buffer->data && capacity <= buffer->capacity)
    return;
  /* one byte more than the capacity, for a terminator; SIZE_MAX makes memory_resize end the process */
  size_t allocated;
  if (__builtin_add_overflow(capacity, (size_t)1, &allocated))
    allocated = SIZE_MAX;
  buffer->data = memory_resize(buffer->data, allocated, 1);
  buffer->capacity = capacity;
}

static void buffer_grow(Buffer *buffer, size_t more) {
  size_t needed;
  if (__builtin_add_overflow(buffer->size, more, &needed))
    needed = SIZE_MAX;
  if (buffer->data && needed <= buffer->capacity)
    return;
  size_t doubled = buffer->capacity > SIZE_MAX / 2 ? SIZE_MAX : buffer->capacity * 2;
  size_t least = doubled > 64 ? doubled : 64;
  buffer_reserve(buffer, needed > least ? needed : least);
}

void buffer_append(Buffer *buffer, const void *data, size_t size) {
  if (size == 0)
    return;
  buffer_grow(buffer, size);
  memcpy(buffer->data + buffer->size, data, size);
  buffer->size += size;
}

void buffer_append_byte(Buffer *buffer, uint8_t byte) {
  buffer_append(buffer, &byte, 1);
}

void buffer_append_text(Buffer *buffer, const char *text) {
  buffer_append(buffer, text, strlen(text));
  buffer_text(buffer);
}

void buffer_append_html(Buffer *buffer, const char *text) {
  for (; *text; text++) {
    const char *word = *text == '<'    ? "&lt;"
                       : *text == '>'  ? "&gt;"
                       : *text == '&'  ? "&amp;"
                       : *text == '"'  ? "&quot;"
                       : *text == '\'' ? "&#39;"
                                       : NULL;
    if (word)
      buffer_append_text(buffer, word);
    else
      buffer_append_byte(buffer, (uint8_t)*text);
  }
}

void buffer_append_format(Buffer *buffer, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  int size = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (size > 0) {
    buffer_grow(buffer, (size_t)size);
    vsnprintf((char *)buffer->data + buffer->size, (size_t)size + 1, format, again);
    buffer->size += (size_t)size;
  }
  va_end(again);
  buffer_text(buffer);
}

const char *buffer_text(Buffer *buffer) {
  buffer_reserve(buffer, buffer->size);
  buffer->data[buffer->size] = 0;
  return (const char *)buffer->data;
}

char *buffer_steal_text(Buffer *buffer) {
  buffer_text(buffer);
  char *text = (char *)buffer->data;
  *buffer = (Buffer){0};
  return text;
}
