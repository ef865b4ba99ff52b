#include "coordinator/alerts/mime.h"

#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "common/base/text.h"

enum { WORD_BYTES = 42, LINE_BYTES = 57, SUBJECT_WORDS = 12 };

static void append_base64(Buffer *out, const void *data, size_t size) {
  unsigned char text[2 * LINE_BYTES];
  int length = EVP_EncodeBlock(text, data, (int)size);
  buffer_append(out, text, (size_t)length);
}

/* A header's text as encoded words, each of whole characters. */
static void append_words(Buffer *out, const char *text) {
  const char *at = text;
  for (int words = 0; *at && words < SUBJECT_WORDS; words++) {
    size_t size = 0;
    for (size_t next; (next = text_utf8_length(at + size)) > 0 && size + next <= WORD_BYTES;)
      size += next;
    if (size == 0)
      return;
    buffer_append_text(out, at == text ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?");
    append_base64(out, at, size);
    buffer_append_text(out, "?=");
    at += size;
  }
}

void mime_head(Buffer *out, const AlertRoute *route, const char *id, int64_t created_us, const char *subject) {
  char date[64];
  struct tm when;
  time_t seconds = (time_t)(created_us / 1000000);
  gmtime_r(&seconds, &when);
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &when);
  buffer_append_format(out, "From: pgseal <%s>\r\n", route->from);
  for (size_t i = 0; i < route->to_count; i++)
    buffer_append_format(out, "%s<%s>", i == 0 ? "To: " : ",\r\n ", route->to[i]);
  buffer_append_format(out, "\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nSubject: ", date, id, strchr(route->from, '@') + 1);
  append_words(out, subject);
  buffer_append_text(out, "\r\nMIME-Version: 1.0\r\nAuto-Submitted: auto-generated\r\n");
}

void mime_body(Buffer *out, const char *type, const char *attached_as, const void *data, size_t size) {
  const uint8_t *bytes = data;
  buffer_append_format(out, "Content-Type: %s\r\nContent-Transfer-Encoding: base64\r\n", type);
  if (attached_as)
    buffer_append_format(out, "Content-Disposition: attachment; filename=\"%s\"\r\n", attached_as);
  buffer_append_text(out, "\r\n");
  for (size_t at = 0; at < size; at += LINE_BYTES) {
    append_base64(out, bytes + at, size - at < LINE_BYTES ? size - at : LINE_BYTES);
    buffer_append_text(out, "\r\n");
  }
}

void mime_parts(Buffer *out, const char *boundary) {
  buffer_append_format(out, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", boundary);
}

void mime_next(Buffer *out, const char *boundary) {
  buffer_append_format(out, "--%s\r\n", boundary);
}

void mime_end(Buffer *out, const char *boundary) {
  buffer_append_format(out, "--%s--\r\n", boundary);
}

size_t mime_encoded_size(size_t size) {
  return (size + LINE_BYTES - 1) / LINE_BYTES * (LINE_BYTES / 3 * 4 + 2);
}
