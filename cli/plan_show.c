/* A plan for people: what is gone, and the ways back, in the order in which a team should think of them. */
#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

enum { PLAN_ITEMS = 30 };

typedef struct Page {
  FILE *out;
  bool color;
} Page;

static void style(const Page *page, Style what, const char *text) {
  fprintf(page->out, "%s%s%s", cli_style(page->color, what), text, cli_reset(page->color));
}

static void title(const Page *page, const char *text) {
  fputc('\n', page->out);
  style(page, STYLE_BOLD, text);
  fputc('\n', page->out);
}

void recovery_show_target(FILE *out, bool color, const json_t *job) {
  const json_t *report = json_object_get(job, "report"), *target = json_object_get(report, "target"),
               *checkpoint = json_object_get(report, "checkpoint");
  char time[FORMAT_SIZE], age[FORMAT_SIZE];
  CLEANUP(buffer_release) Buffer database = {0};
  format_database(&database, color, api_text(job, "database"), api_text(job, "environment"));
  const char *address = api_text(target, "address"), *port = api_text(target, "port");
  fprintf(out, "%s: database \"%s\" on %s%s%s, PostgreSQL %s, as %s\n", buffer_text(&database),
          api_text(target, "database_name"), *address ? address : "a local socket", *port ? ":" : "", port,
          api_text(target, "server_version"), api_text(target, "user"));
  fprintf(out, "  last write    %s\n",
          *api_text(target, "last_write") ? format_time(api_text(target, "last_write"), time) : "not known");
  fprintf(out, "  checkpoint    %s (%s)", api_text(checkpoint, "tag"), api_text(checkpoint, "id"));
  if (*api_text(checkpoint, "taken"))
    fprintf(out, ", taken %s, %s", format_time(api_text(checkpoint, "taken"), time),
            format_age(api_text(checkpoint, "taken"), age));
  fprintf(out, "%s\n", json_is_false(json_object_get(checkpoint, "proven")) ? ", NOT proven to restore" : "");
}

/* "... and 12 more" once there were enough; true: go on. */
static bool room(const Page *page, size_t shown, size_t all) {
  if (shown < PLAN_ITEMS)
    return true;
  if (shown == PLAN_ITEMS)
    fprintf(page->out, "  ... and %zu more; --json has all of them\n", all - shown);
  return false;
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), size = strlen(end);
  return length >= size && strcmp(text + length - size, end) == 0;
}

/* Of "MATERIALIZED VIEW totals" the length of what is no name. */
static size_t kind_length(const char *name) {
  size_t length = 0;
  for (;;) {
    size_t word = strspn(name + length, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if (word == 0 || name[length + word] != ' ')
      return length;
    length += word + 1;
  }
}

/* A name may hold line breaks: what follows one would look like a line of ours. */
static void print_in_line(FILE *out, const char *text) {
  for (size_t i = 0; text[i]; i++)
    fputc(text[i] == '\n' ? '?' : text[i], out);
}

/* "schema.table.column", without those that are empty. */
static void print_parts(FILE *out, const char *const *parts) {
  bool any = false;
  for (; *parts; parts++) {
    fputs(any && **parts ? "." : "", out);
    print_in_line(out, *parts);
    any |= **parts != '\0';
  }
}

void recovery_print_name(FILE *out, const json_t *item) {
  const char *desc = api_text(item, "desc"), *schema = api_text(item, "schema"), *name = api_text(item, "name");
  bool about = strcmp(desc, "ACL") == 0 || strcmp(desc, "COMMENT") == 0 || strcmp(desc, "SECURITY LABEL") == 0;
  size_t kind = about ? kind_length(name) : 0;
  fprintf(out, "%s%s%s%.*s", desc, *desc ? " " : "", kind ? "of " : "", (int)kind, name);
  print_in_line(out, schema);
  fputs(*schema ? "." : "", out);
  print_in_line(out, name + kind);
}

static void object_line(const Page *page, const json_t *item) {
  const char *change = api_text(item, "change"), *table = api_text(item, "table"),
             *cause = api_text(item, "because_of");
  bool gone = strcmp(change, "missing") == 0;
  fputs("  ", page->out);
  style(page, gone ? STYLE_BAD : STYLE_PLAIN, gone ? "gone   " : change);
  fputc(' ', page->out);
  recovery_print_name(page->out, item);
  if (*table && !ends_with(api_text(item, "name"), table)) {
    fputs(" of ", page->out);
    print_in_line(page->out, table);
  }
  if (api_true(item, "recreated"))
    fputs(", dropped and made again", page->out);
  if (*cause) {
    fputs(" (with ", page->out);
    print_in_line(page->out, cause);
    fputc(')', page->out);
  }
  fputc('\n', page->out);
}

static void show_objects(const Page *page, const json_t *report) {
  const json_t *list = json_object_get(report, "objects"), *item;
  size_t index, shown = 0, added = 0, all = 0;
  json_array_foreach(list, index, item) {
    all += strcmp(api_text(item, "change"), "added") != 0;
  }
  json_array_foreach(list, index, item) {
    if (strcmp(api_text(item, "change"), "added") == 0)
      added++;
    else if (room(page, shown++, all))
      object_line(page, item);
  }
  if (added)
    fprintf(page->out, "  %zu object%s that the checkpoint does not have\n", added, added == 1 ? "" : "s");
}

static void show_columns(const Page *page, const json_t *report) {
  const json_t *item;
  size_t index, count = json_array_size(json_object_get(report, "columns"));
  json_array_foreach(json_object_get(report, "columns"), index, item) {
    const char *change = api_text(item, "change"), *was = api_text(item, "was"), *is = api_text(item, "is");
    bool gone = strcmp(change, "missing") == 0;
    if (!room(page, index, count))
      return;
    fputs("  ", page->out);
    style(page, gone ? STYLE_BAD : STYLE_PLAIN, gone ? "gone   " : change);
    fputs(" column ", page->out);
    print_parts(page->out, (const char *const[]){api_text(item, "schema"), api_text(item, "table"),
                                                 api_text(item, "column"), NULL});
    if (*was && *is)
      fprintf(page->out, ": was %s, is %s", was, is);
    fputc('\n', page->out);
  }
}

static void show_renames(const Page *page, const json_t *report) {
  const json_t *item;
  size_t index;
  json_array_foreach(json_object_get(report, "renames"), index, item) {
    fprintf(page->out, "  renamed %s ", api_text(item, "desc"));
    print_parts(page->out,
                (const char *const[]){api_text(item, "schema"), api_text(item, "table"), api_text(item, "from"), NULL});
    fputs(" to ", page->out);
    print_in_line(page->out, api_text(item, "to"));
    fputs(", as it seems\n", page->out);
  }
}

static bool remarkable(const json_t *table) {
  const char *state = api_text(table, "state");
  return api_true(table, "lost") || api_integer(table, "rows_missing") > 0 || api_integer(table, "rows_changed") > 0 ||
         strcmp(state, "same") != 0;
}

static void table_line(const Page *page, const json_t *item) {
  const json_t *now = json_object_get(item, "rows_now");
  fputs("  ", page->out);
  style(page, api_true(item, "lost") ? STYLE_BAD : STYLE_PLAIN, api_true(item, "lost") ? "LOST   " : "rows   ");
  fputc(' ', page->out);
  recovery_print_name(page->out, item);
  fprintf(page->out, ": %" PRId64 " rows then, ", api_integer(item, "rows_then"));
  if (json_is_integer(now))
    fprintf(page->out, "%" PRId64 " now", api_integer(item, "rows_now"));
  else
    fputs(strcmp(api_text(item, "state"), "missing") == 0 ? "gone now" : "not readable now", page->out);
  if (json_is_integer(json_object_get(item, "rows_missing")))
    fprintf(page->out, " (%" PRId64 " missing, %" PRId64 " changed, %" PRId64 " new since)",
            api_integer(item, "rows_missing"), api_integer(item, "rows_changed"), api_integer(item, "rows_new"));
  else if (strncmp(api_text(item, "state"), "content_", 8) == 0)
    fprintf(page->out, ", %s",
            strcmp(api_text(item, "state"), "content_same") == 0 ? "content the same" : "content changed");
  fprintf(page->out, "%s%s\n", *api_text(item, "note") ? "; " : "", api_text(item, "note"));
}

static void show_tables(const Page *page, const json_t *report) {
  const json_t *item;
  size_t index, shown = 0, all = 0, quiet = 0;
  json_array_foreach(json_object_get(report, "tables"), index, item) {
    all += remarkable(item);
  }
  json_array_foreach(json_object_get(report, "tables"), index, item) {
    if (!remarkable(item))
      quiet++;
    else if (room(page, shown++, all))
      table_line(page, item);
  }
  if (quiet)
    fprintf(page->out, "  %zu table%s with as many rows as then\n", quiet, quiet == 1 ? "" : "s");
}

static const char *way_title(const json_t *way) {
  const char *name = api_text(way, "way");
  if (strcmp(name, "roll_forward") == 0)
    return "Roll forward: a migration that puts definitions back";
  if (strcmp(name, "compensate") == 0)
    return "Compensate: a script that puts back missing and changed rows";
  if (strcmp(name, "restore_tables") == 0)
    return api_true(way, "replace") ? "Restore tables over what stands there now"
                                    : "Restore missing tables where they were";
  return "Restore the whole database beside this one";
}

static void show_cost(const Page *page, const json_t *way) {
  char read[TEXT_SIZE_SIZE], of[TEXT_SIZE_SIZE], seconds[FORMAT_SIZE];
  const json_t *lost = json_object_get(way, "rows_lost_since");
  if (api_integer(way, "of_bytes") > 0)
    fprintf(page->out, "     reads     %s of %s%s%s\n", text_size(api_integer(way, "bytes_to_read"), read),
            text_size(api_integer(way, "of_bytes"), of), api_number(way, "seconds") > 0 ? ", about " : "",
            api_number(way, "seconds") > 0 ? format_seconds(api_number(way, "seconds"), seconds) : "");
  if (json_is_integer(lost))
    fprintf(page->out, "     loses     %" PRId64 " rows written since\n", api_integer(way, "rows_lost_since"));
  if (*api_text(way, "locks"))
    fprintf(page->out, "     locks     %s\n     usable    %s\n", api_text(way, "locks"), api_text(way, "usable"));
}

static void show_way(const Page *page, size_t number, const json_t *way, bool statements) {
  const json_t *sql = json_object_get(way, "sql"), *item;
  bool possible = api_true(way, "possible");
  size_t index;
  fprintf(page->out, "  %zu. ", number);
  style(page, possible ? STYLE_BOLD : STYLE_DIM, way_title(way));
  fprintf(page->out, "%s\n", possible ? "" : ": not this time");
  if (*api_text(way, "note"))
    fprintf(page->out, "     %s\n", api_text(way, "note"));
  if (!possible)
    return;
  show_cost(page, way);
  if (*api_text(way, "command"))
    fprintf(page->out, "     %s\n", api_text(way, "command"));
  if (json_array_size(sql) == 0)
    return;
  if (!statements) {
    fprintf(page->out, "     %zu statement%s; `pgseal plan` prints them\n", json_array_size(sql),
            json_array_size(sql) == 1 ? "" : "s");
    return;
  }
  fputc('\n', page->out);
  json_array_foreach(sql, index, item) {
    fprintf(page->out, "%s\n", json_string_value(item) ? json_string_value(item) : "");
  }
  fputc('\n', page->out);
}

static void show_damage(const Page *page, const json_t *report) {
  const char *damage = api_text(report, "damage");
  if (strcmp(damage, "lost") == 0)
    style(page, STYLE_BAD, "SOMETHING IS LOST. ");
  else if (api_integer(report, "unread") > 0)
    style(page, STYLE_WARN, "NOT ALL COULD BE COMPARED. ");
  else if (strcmp(damage, "changed") == 0)
    style(page, STYLE_WARN, "Changed, nothing lost. ");
  else
    style(page, STYLE_GOOD, "Nothing is lost. ");
  fprintf(page->out, "%s\n", api_text(report, "advice"));
}

void recovery_show_plan(FILE *out, bool color, const json_t *job, bool statements) {
  const Page page = {out, color};
  const json_t *report = json_object_get(job, "report"), *item;
  size_t index;
  show_damage(&page, report);
  fputc('\n', out);
  recovery_show_target(out, color, job);
  title(&page, "What differs");
  show_objects(&page, report);
  show_columns(&page, report);
  show_renames(&page, report);
  show_tables(&page, report);
  if (json_array_size(json_object_get(report, "notes")) > 0)
    title(&page, "Notes");
  json_array_foreach(json_object_get(report, "notes"), index, item) {
    fprintf(out, "  - %s\n", json_string_value(item) ? json_string_value(item) : "");
  }
  if (strcmp(api_text(report, "damage"), "none") == 0)
    return;
  title(&page, "The ways back, the gentlest first");
  json_array_foreach(json_object_get(report, "ways"), index, item) {
    show_way(&page, index + 1, item, statements);
  }
}
