/* What a restore did, for people. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/recovery.h"
#include "cli/restore.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

enum { SHOWN_ITEMS = 40 };

/* ---- scripts: "-- step 2: insert 17 rows of public.orders" ---- */

static const char step_mark[] = "-- step ";

static const char *next_step(const char *script) {
  for (const char *line = script; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
    if (strncmp(line, step_mark, strlen(step_mark)) == 0)
      return line;
  return NULL;
}

int64_t restore_script_rows(const char *script, size_t *steps) {
  int64_t rows = 0;
  *steps = 0;
  for (const char *line = next_step(script); line; line = next_step(line + 1)) {
    char *end = NULL;
    const char *at = strchr(line, ':');
    at = at ? at + 2 + strcspn(at + 2, " \n") : line; /* behind the verb */
    long long count = strtoll(at, &end, 10);
    if (end > at && strncmp(end, " rows of ", 9) == 0)
      rows += count;
    ++*steps;
  }
  return rows;
}

void restore_script_outline(FILE *out, const char *script) {
  size_t shown = 0;
  for (const char *line = next_step(script); line; line = next_step(line + 1)) {
    if (++shown <= SHOWN_ITEMS)
      fprintf(out, "    %.*s\n", (int)strcspn(line, "\n") - 3, line + 3);
  }
  if (shown > SHOWN_ITEMS)
    fprintf(out, "    ... and %zu more\n", shown - SHOWN_ITEMS);
}

/* ---- parts ---- */

/* "... and 12 more" once there were enough; true: go on. */
static bool room(FILE *out, size_t index, const json_t *list) {
  if (index == SHOWN_ITEMS)
    fprintf(out, "  ... and %zu more; --json has all of them\n", json_array_size(list) - index);
  return index < SHOWN_ITEMS;
}

static void show_tables(FILE *out, const json_t *report) {
  const json_t *list = json_object_get(report, "tables"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (!room(out, index, list))
      return;
    fputs("  rows          ", out);
    recovery_print_name(out, item);
    fprintf(out, ": %" PRId64 "%s%s%s\n", api_integer(item, "rows"), *api_text(item, "step") ? " by " : "",
            api_text(item, "step"), api_true(item, "verified") ? ", verified" : "");
  }
}

static void show_objects(FILE *out, const json_t *report) {
  const json_t *list = json_object_get(report, "objects"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (!room(out, index, list))
      return;
    fputs("  put back      ", out);
    recovery_print_name(out, item);
    fputc('\n', out);
  }
}

static void show_keys(FILE *out, bool color, const json_t *report) {
  const json_t *list = json_object_get(report, "foreign_keys"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (!room(out, index, list))
      return;
    fputs("  foreign key   ", out);
    recovery_print_name(out, item);
    if (api_true(item, "validated")) {
      fputs(": validated\n", out);
      continue;
    }
    fprintf(out, ": %sNOT VALID%s", cli_style(color, STYLE_WARN), cli_reset(color));
    if (json_is_integer(json_object_get(item, "orphans")))
      fprintf(out, ", %" PRId64 " rows do not fit", api_integer(item, "orphans"));
    fputc('\n', out);
  }
}

static void show_displaced(FILE *out, const json_t *report) {
  const json_t *list = json_object_get(report, "displaced"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (!room(out, index, list))
      return;
    fputs("  moved aside   ", out);
    recovery_print_name(out, item);
    fprintf(out, " to schema %s\n", api_text(item, "to"));
  }
}

static void show_left_out(FILE *out, bool color, const json_t *report) {
  const json_t *list = json_object_get(report, "left_out"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (!room(out, index, list))
      return;
    fprintf(out, "  %sleft out%s      ", cli_style(color, STYLE_WARN), cli_reset(color));
    recovery_print_name(out, item);
    fprintf(out, ": %s\n", api_text(item, "why"));
  }
}

static void show_notes(FILE *out, const json_t *report) {
  const json_t *item;
  size_t index;
  json_array_foreach(json_object_get(report, "notes"), index, item) {
    fprintf(out, "  - %s\n", json_string_value(item) ? json_string_value(item) : "");
  }
}

/* ---- beside ---- */

static void show_changed_columns(FILE *out, const json_t *item) {
  const char *column;
  json_t *count, *columns = json_object_get(item, "columns");
  size_t shown = 0;
  json_object_foreach(columns, column, count) {
    fprintf(out, "%s%s in %" JSON_INTEGER_FORMAT, shown++ ? ", " : "; changed: ", column, json_integer_value(count));
  }
}

static void show_differences(FILE *out, const json_t *report) {
  const json_t *list = json_object_get(report, "differences"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (!room(out, index, list))
      return;
    fputs("  differs       ", out);
    recovery_print_name(out, item);
    if (!api_true(item, "live")) {
      fprintf(out, " is gone; its %" PRId64 " rows are in %s.%s\n", api_integer(item, "missing"),
              api_text(report, "schema"), api_text(item, "rescue"));
      continue;
    }
    fprintf(out, ": %" PRId64 " rows missing, ", api_integer(item, "missing"));
    if (json_is_integer(json_object_get(item, "changed")))
      fprintf(out, "%" PRId64 " changed, ", api_integer(item, "changed"));
    fprintf(out, "%" PRId64 " new since", api_integer(item, "new"));
    show_changed_columns(out, item);
    fputc('\n', out);
  }
}

static void show_script(FILE *out, const json_t *job, const char *script_out) {
  const json_t *report = json_object_get(job, "report");
  const char *script = api_text(report, "script"), *schema = api_text(report, "schema");
  size_t steps;
  if (!*api_text(report, "script_sha256")) {
    fprintf(out, "  The copy stays for you to look into: DROP SCHEMA %s CASCADE when it is not wanted any more.\n",
            schema);
    return;
  }
  if (!*script) {
    fprintf(out, "  The script is too long to be shown: it is in the target, table %s.pgseal_scripts.\n", schema);
    return;
  }
  if (!script_out)
    fprintf(out, "\n%s\n", script);
  int64_t rows = restore_script_rows(script, &steps);
  fprintf(out, "The script has %zu step%s and touches %" PRId64 " row%s%s%s:\n", steps, steps == 1 ? "" : "s", rows,
          rows == 1 ? "" : "s", script_out ? "; it is in " : "", script_out ? script_out : "");
  restore_script_outline(out, script);
  fprintf(out, "Run it as it is:   pgseal restore %s --run-script %s\n", api_text(job, "database"),
          api_text(job, "id"));
  if (script_out)
    fprintf(out, "Or edited:         psql -X -v ON_ERROR_STOP=1 -f %s\n", script_out);
  else
    fputs("To edit it first:  the same command with --replace --script-out FILE, then psql\n", out);
  fprintf(out, "Afterwards:        DROP SCHEMA %s CASCADE\n", schema);
}

/* ---- all of it ---- */

static const char *headline(const json_t *report) {
  const char *mode = api_text(report, "mode");
  if (strcmp(mode, "beside") == 0)
    return "COMPARED";
  return strcmp(mode, "script") == 0 ? "DONE" : "RESTORED";
}

static void show_head(FILE *out, bool color, const json_t *report) {
  char seconds[FORMAT_SIZE], read[TEXT_SIZE_SIZE], of[TEXT_SIZE_SIZE];
  const json_t *amount = json_object_get(report, "read");
  bool verified = api_true(report, "verified");
  fprintf(out, "%s%s%s%s \xc2\xb7 %" PRId64 " rows \xc2\xb7 %s", cli_style(color, verified ? STYLE_GOOD : STYLE_BAD),
          headline(report), verified ? "" : ", BUT NOT ALL OF IT IS AS IN THE CHECKPOINT", cli_reset(color),
          api_integer(report, "rows_written"), format_seconds(api_number(report, "seconds"), seconds));
  if (api_integer(amount, "of") > 0)
    fprintf(out, " \xc2\xb7 read %s of %s", text_size(api_integer(amount, "bytes"), read),
            text_size(api_integer(amount, "of"), of));
  fputc('\n', out);
}

void restore_show(FILE *out, bool color, const json_t *job, const char *script_out) {
  const json_t *report = json_object_get(job, "report");
  show_head(out, color, report);
  recovery_show_target(out, color, job);
  if (strcmp(api_text(report, "mode"), "beside") == 0) {
    show_differences(out, report);
    show_notes(out, report);
    show_script(out, job, script_out);
    return;
  }
  show_tables(out, report);
  show_objects(out, report);
  show_keys(out, color, report);
  show_displaced(out, report);
  show_left_out(out, color, report);
  show_notes(out, report);
}
