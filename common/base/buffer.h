/*
 * Buffer: growable bytes. Zero-initialised is empty and valid: `Buffer b = {0};`.
 * Not for sharing between threads without a lock. Allocation failure ends the process with a clear
 * message (see memory.h): bounded sizes are the caller's job, checked before bytes are appended.
 */
#ifndef PGSEAL_COMMON_BASE_BUFFER_H
#define PGSEAL_COMMON_BASE_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

typedef struct Buffer {
  uint8_t *data; /* owned; always one spare byte, kept 0 after buffer_append_text/_format */
  size_t size;
  size_t capacity;
} Buffer;

void buffer_release(Buffer *buffer); /* frees, and leaves an empty Buffer */
void buffer_clear(Buffer *buffer);   /* size = 0, keeps the memory */
void buffer_reserve(Buffer *buffer, size_t capacity);
void buffer_append(Buffer *buffer, const void *data, size_t size);
void buffer_append_byte(Buffer *buffer, uint8_t byte);
void buffer_append_text(Buffer *buffer, const char *text);
/* As text of an HTML element, or of an attribute in quotes: nothing of it is markup. */
void buffer_append_html(Buffer *buffer, const char *text);
void buffer_append_format(Buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
const char *buffer_text(Buffer *buffer); /* NUL-terminated view, owned by the buffer */
char *buffer_steal_text(Buffer *buffer); /* NUL-terminated, caller frees; buffer is empty afterwards */

#endif
