/* A notification as a message of mail. */
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "coordinator/alerts/message.h"
#include "coordinator/alerts/mime.h"

static const char *member(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
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
  append_text(&text, settings, row);
  mime_head(&out, route, row->id, row->created_us, subject);
  mime_body(&out, "text/plain; charset=utf-8", NULL, text.data, text.size);
  return buffer_steal_text(&out);
}
