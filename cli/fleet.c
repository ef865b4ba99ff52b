/* pgseal apply, fleet and schedule. */
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { FLEET_TEXT_LIMIT = 4 << 20 };

/* ---- apply ---- */

static bool is_duration(const char *key) {
  static const char *const keys[] = {"rotation.proof_age", "objectives.proof_age", "objectives.restore_time",
                                     "objectives.data_loss"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
    if (strcmp(key, keys[i]) == 0)
      return true;
  return false;
}

/* As the document has it: what is a duration there is one here. */
static void print_value(const char *key, const json_t *value) {
  char duration[TEXT_DURATION_SIZE];
  if (json_is_null(value)) {
    printf("-");
  } else if (json_is_integer(value) && is_duration(key)) {
    printf("%s", text_duration_show(json_integer_value(value), duration));
  } else if (json_is_string(value)) {
    printf("%s", json_string_value(value));
  } else {
    CLEANUP_FREE char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    printf("%s", text ? text : "?");
  }
}

static void print_settings(const json_t *settings, const char *indent) {
  const char *key;
  json_t *change;
  json_object_foreach((json_t *)settings, key, change) {
    printf("%s%s: ", indent, key);
    print_value(key, json_object_get(change, "from"));
    printf(" -> ");
    print_value(key, json_object_get(change, "to"));
    printf("\n");
  }
}

static void print_names(const Cli *cli, const json_t *list, char sign, Style style, int64_t count) {
  size_t index;
  const json_t *name;
  json_array_foreach(list, index, name) {
    printf("%s%c database %s%s\n", cli_style(cli->color_out, style), sign, json_string_value(name),
           cli_reset(cli->color_out));
  }
  if (count > (int64_t)json_array_size(list))
    printf("%c and %lld more\n", sign, (long long)count - (long long)json_array_size(list));
}

static void print_difference(const Cli *cli, const json_t *difference) {
  const json_t *counts = json_object_get(difference, "counts"), *changed = json_object_get(difference, "changed"), *one;
  size_t index;
  print_names(cli, json_object_get(difference, "added"), '+', STYLE_GOOD, api_integer(counts, "added"));
  print_names(cli, json_object_get(difference, "removed"), '-', STYLE_BAD, api_integer(counts, "removed"));
  json_array_foreach(changed, index, one) {
    printf("%s~ database %s%s\n", cli_style(cli->color_out, STYLE_WARN), api_text(one, "name"),
           cli_reset(cli->color_out));
    print_settings(json_object_get(one, "settings"), "    ");
  }
  if (api_integer(counts, "changed") > (int64_t)json_array_size(changed))
    printf("~ and %lld more\n", (long long)(api_integer(counts, "changed") - (int64_t)json_array_size(changed)));
  if (json_object_size(json_object_get(difference, "fleet")) > 0)
    printf("~ the fleet\n");
  print_settings(json_object_get(difference, "fleet"), "    ");
}

static void print_end(const json_t *report) {
  long long version = (long long)api_integer(report, "version");
  if (api_true(report, "dry_run"))
    printf("Nothing was applied (--dry-run).\n");
  else if (api_true(report, "changed"))
    printf("Applied: version %lld of the fleet.\n", version);
  else
    printf("Version %lld of the fleet is this document already.\n", version);
}

static void print_report(const Cli *cli, const char *file, const json_t *report) {
  const json_t *difference = json_object_get(report, "difference"), *counts = json_object_get(difference, "counts");
  const json_t *notes = json_object_get(report, "notes"), *note;
  size_t index;
  print_difference(cli, difference);
  json_array_foreach(notes, index, note) {
    cli_note(cli, "warning: %s:%lld: %s", file, (long long)api_integer(note, "line"), api_text(note, "message"));
  }
  printf("Databases: %lld added, %lld removed, %lld changed.\n", (long long)api_integer(counts, "added"),
         (long long)api_integer(counts, "removed"), (long long)api_integer(counts, "changed"));
  print_end(report);
}

/* The same as --file; what follows stays. */
static void long_file(int argc, char **argv) {
  for (int i = 0; i < argc; i++)
    if (strcmp(argv[i], "-f") == 0)
      argv[i] = (char *)"--file";
}

ExitCode command_apply(Cli *cli, int argc, char **argv) {
  const char *file = NULL;
  bool dry_run = false;
  const Option options[] = {
      {"file", OPTION_TEXT, &file, "FILE", "the document, fleet.yaml; also -f"},
      {"dry-run", OPTION_FLAG, &dry_run, NULL, "only say what it would change"},
  };
  ExitCode code;
  long_file(argc, argv);
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (!file)
    return cli_usage(cli, "-f FILE is missing");
  CLEANUP(buffer_release) Buffer text = {0};
  CLEANUP(api_release) json_t *report = NULL;
  Error err;
  if (file_read(file, FLEET_TEXT_LIMIT, &text, &err) != STATUS_OK)
    return cli_usage(cli, "%s", err.message);
  CLEANUP_FREE char *name = http_escape(strrchr(file, '/') ? strrchr(file, '/') + 1 : file);
  CLEANUP_FREE char *path = memory_format("/api/v1/fleet?dry_run=%s&name=%s", dry_run ? "true" : "false", name);
  if (api_put_text(cli, path, &text, "application/yaml", &report, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(report);
    return EXIT_DONE;
  }
  print_report(cli, file, report);
  return EXIT_DONE;
}

/* ---- fleet ---- */

static void print_database(const json_t *json) {
  const char *key;
  json_t *value;
  printf("%s\n", api_text(json, "name"));
  json_object_foreach(json_object_get(json, "settings"), key, value) {
    printf("  %-28s ", key);
    print_value(key, value);
    printf("\n");
  }
}

ExitCode command_fleet(Cli *cli, int argc, char **argv) {
  const char *database = NULL;
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 0, 1, &database, &code))
    return code;
  CLEANUP_FREE char *name = http_escape(database ? database : "");
  CLEANUP(api_release) json_t *json = NULL;
  Error err;
  if (api_get(cli, &json, &err, "/api/v1/fleet%s%s", database ? "?database=" : "", name) != STATUS_OK) {
    if (database)
      api_suggest_database(cli, database, &err);
    return cli_fail(cli, &err);
  }
  if (cli->json)
    cli_print_json(json);
  else if (database)
    print_database(json);
  else
    printf("%s", api_text(json, "text")); /* as it was applied: `pgseal fleet >fleet.yaml` */
  if (!database && *api_text(json, "problem"))
    cli_note(cli, "warning: the file that is watched is not what is in force: %s", api_text(json, "problem"));
  return EXIT_DONE;
}

/* ---- schedule ---- */

static void add_last(Table *table, const json_t *last) {
  const char *state = api_text(last, "state");
  char time[FORMAT_SIZE];
  if (!json_is_object(last)) {
    table_add(table, "-");
    return;
  }
  table_add(table, "%s %s", format_time(api_text(last, "slot_at"), time), *state ? state : api_text(last, "outcome"));
}

static void add_count(Table *table, const json_t *entry, const char *what) {
  char key[32], time[FORMAT_SIZE];
  snprintf(key, sizeof key, "%s_count", what);
  long long count = (long long)api_integer(entry, key);
  snprintf(key, sizeof key, "%s_at", what);
  if (count == 0)
    table_add(table, "-");
  else
    table_add(table, "%lld, %s", count, format_age(api_text(entry, key), time));
}

ExitCode command_schedule(Cli *cli, int argc, char **argv) {
  const char *database = NULL;
  int limit = 100;
  const Option options[] = {{"limit", OPTION_INTEGER, &limit, "N", "how many, those due next first (default 100)"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 1, &database, &code))
    return code;
  CLEANUP_FREE char *name = http_escape(database ? database : "");
  CLEANUP(api_release) json_t *json = NULL;
  Error err;
  if (api_get(cli, &json, &err, "/api/v1/schedule?limit=%d%s%s", limit, database ? "&database=" : "", name) !=
      STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  if (database && json_array_size(json_object_get(json, "schedule")) == 0) {
    printf("'%s' has no schedule; `pgseal fleet DATABASE` says which policies a database has.\n", database);
    return EXIT_DONE;
  }
  static const char *const heading[] = {"DATABASE", "NEXT", "CRON", "TIME ZONE", "LAST RUN", "MISSED", "SKIPPED"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  const json_t *list = json_object_get(json, "schedule"), *entry;
  size_t index;
  char time[FORMAT_SIZE];
  json_array_foreach(list, index, entry) {
    table_add(&table, "%s", api_text(entry, "database"));
    table_add(&table, "%s", format_time(api_text(entry, "next_at"), time));
    table_add(&table, "%s", api_text(entry, "cron"));
    table_add(&table, "%s", api_text(entry, "time_zone"));
    add_last(&table, json_object_get(entry, "last"));
    add_count(&table, entry, "missed");
    add_count(&table, entry, "skipped");
  }
  table_print(&table, stdout, cli->color_out);
  return EXIT_DONE;
}
