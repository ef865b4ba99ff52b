#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/metrics/internal.h"

typedef enum Type { COUNTER, GAUGE } Type;

static const struct {
  const char *name, *help;
  Type type;
} families[METRICS_FAMILY_COUNT] = {
#define ROW(id, name, type, labels, help) [METRICS_##id] = {name, help, type},
    METRICS_FAMILIES(ROW)
#undef ROW
};

const char *text_family_name(MetricsFamily family) {
  return families[family].name;
}

void text_family(Buffer *out, MetricsFamily family) {
  buffer_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", families[family].name, families[family].help,
                       families[family].name, families[family].type == COUNTER ? "counter" : "gauge");
}

/* Of one line. Other control characters become question marks, too: none is left that would have to be escaped. */
static void append_escaped(Buffer *out, const char *line, size_t length) {
  CLEANUP_FREE char *raw = memory_strndup(line, length), *clean = memory_alloc(length + 1);
  text_clean(raw, clean, length + 1);
  for (const char *at = clean; *at; at++) {
    if (*at == '\\' || *at == '"')
      buffer_append_byte(out, '\\');
    buffer_append_byte(out, (uint8_t)*at);
  }
}

void text_label(Buffer *out, const char *name, const char *value) {
  buffer_append_text(out, name);
  buffer_append_text(out, "=\"");
  for (;;) {
    size_t length = strcspn(value, "\n");
    append_escaped(out, value, length);
    value += length;
    if (!*value)
      break;
    buffer_append_text(out, "\\n");
    value++;
  }
  buffer_append_text(out, "\"");
}

void text_number(Buffer *out, double value) {
  char text[32];
  int size;
  if (floor(value) == value && fabs(value) < 1e15)
    size = snprintf(text, sizeof text, "%lld", (long long)value);
  else
    size = snprintf(text, sizeof text, "%.15g", value);
  buffer_append(out, text, (size_t)size);
}

void text_sample(Buffer *out, MetricsFamily family, const char *labels, double value) {
  buffer_append_text(out, families[family].name);
  if (labels[0]) {
    buffer_append_byte(out, '{');
    buffer_append_text(out, labels);
    buffer_append_byte(out, '}');
  }
  buffer_append_byte(out, ' ');
  text_number(out, value);
  buffer_append_byte(out, '\n');
}

void text_sample_of(Buffer *out, MetricsFamily family, const char *label, const char *value, double number) {
  CLEANUP(buffer_release) Buffer labels = {0};
  text_label(&labels, label, value);
  text_sample(out, family, buffer_text(&labels), number);
}
