/* A notification as a message of mail (RFC 5322, 2045, 2047): UTF-8, in base64, so that no line of it is anything but
 * text. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/alerts/message.h"

enum { WORD_BYTES = 42, LINE_BYTES = 57 };

static const char *member(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

static void append_base64(Buffer *out, const char *data, size_t size) {
  unsigned char text[2 * LINE_BYTES];
  int length = EVP_EncodeBlock(text, (const unsigned char *)data, (int)size);
  buffer_append(out, text, (size_t)length);
}

/* A header's text as encoded words, each of whole characters. */
static void append_words(Buffer *out, const char *text) {
  for (const char *at = text; *at;) {
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

static void append_text(Buffer *out, const AlertSettings *settings, const LedgerNotification *row) {
  size_t index;
  const json_t *alert;
  json_array_foreach(row->alerts, index, alert) {
    buffer_append_format(out, "%s (%s, %s, since %s)\n  %s\n", member(alert, "event"), member(alert, "severity"),
                         member(alert, "condition"), member(alert, "since"), member(alert, "summary"));
    if (*member(alert, "remedy"))
      buffer_append_format(out, "  %s\n", member(alert, "remedy"));
    buffer_append_text(out, "\n");
  }
  if (settings->link)
    buffer_append_format(out, "%s\n", settings->link);
  buffer_append_format(out, "-- \npgseal, route %s, message %s\n", row->route, row->id);
}

char *message_email(const AlertSettings *settings, const AlertRoute *route, const LedgerNotification *row) {
  CLEANUP(buffer_release) Buffer out = {0};
  CLEANUP(buffer_release) Buffer text = {0};
  CLEANUP_FREE char *subject = message_subject(row);
  char date[64];
  struct tm when;
  time_t seconds = (time_t)(row->created_us / 1000000);
  gmtime_r(&seconds, &when);
  strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", &when);
  buffer_append_format(&out, "From: pgseal <%s>\r\n", route->from);
  for (size_t i = 0; i < route->to_count; i++)
    buffer_append_format(&out, "%s<%s>", i == 0 ? "To: " : ",\r\n ", route->to[i]);
  buffer_append_format(&out, "\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\nSubject: ", date, row->id,
                       strchr(route->from, '@') + 1);
  append_words(&out, subject);
  buffer_append_text(&out, "\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                           "Content-Transfer-Encoding: base64\r\nAuto-Submitted: auto-generated\r\n\r\n");
  append_text(&text, settings, row);
  for (size_t at = 0; at < text.size; at += LINE_BYTES) {
    append_base64(&out, (const char *)text.data + at, text.size - at < LINE_BYTES ? text.size - at : LINE_BYTES);
    buffer_append_text(&out, "\r\n");
  }
  return buffer_steal_text(&out);
}
