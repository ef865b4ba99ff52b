/* pgseal show: one checkpoint, with what was proven and what was not. */
#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

enum { SHOW_ITEMS = 20 };

static void show_line(const char *label, const char *value) {
  if (*value)
    printf("  %-14s %s\n", label, value);
}

static void show_time(const char *label, const char *value) {
  char text[FORMAT_SIZE];
  if (*value)
    show_line(label, format_time(value, text));
}

/* Objects like {"kind","object","detail"}, or plain texts. */
static void show_list(const char *title, const json_t *list) {
  const json_t *item;
  size_t index;
  if (json_array_size(list) == 0)
    return;
  printf("\n%s\n", title);
  json_array_foreach(list, index, item) {
    if (index == SHOW_ITEMS) {
      printf("  ... and %zu more; --json shows all\n", json_array_size(list) - index);
      break;
    }
    if (json_is_string(item)) {
      printf("  - %s\n", json_string_value(item));
      continue;
    }
    const char *object = api_text(item, "object"), *detail = api_text(item, "detail");
    printf("  - %s%s%s%s%s\n", api_text(item, "kind"), *object ? " " : "", object, *detail ? ": " : "", detail);
    if (*api_text(item, "remedy"))
      printf("    remedy: %s\n", api_text(item, "remedy"));
  }
}

static void show_assertions(const json_t *list) {
  const json_t *item;
  size_t index;
  if (json_array_size(list) > 0)
    printf("\nAssertions on the restored copy\n");
  json_array_foreach(list, index, item) {
    printf("  - %s: %s\n", api_text(item, "name"), api_true(item, "ok") ? "holds" : "does not hold");
  }
}

static void show_jobs(const Cli *cli, const json_t *jobs) {
  if (json_array_size(jobs) == 0)
    return;
  CLEANUP(table_release) Table table = {.columns = 6};
  static const char *const heading[] = {"  JOB", "STATE", "AGENT", "ATTEMPT", "PHASE", "ID"};
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  const json_t *job;
  size_t index;
  json_array_foreach(jobs, index, job) {
    const char *phase = api_text(json_object_get(job, "progress"), "phase");
    table_add(&table, "  %s", api_text(job, "kind"));
    table_add(&table, "%s", api_text(job, "state"));
    table_add(&table, "%s", *api_text(job, "agent") ? api_text(job, "agent") : "-");
    table_add(&table, "%" PRId64, api_integer(job, "attempt"));
    table_add(&table, "%s", *phase ? phase : "-");
    table_add(&table, "%s", api_text(job, "id"));
  }
  printf("\n");
  table_print(&table, stdout, cli->color_out);
}

/* How the source writes and sorts texts. */
static void show_source(const json_t *source) {
  const char *now = api_text(source, "collation_actual"), *made = api_text(source, "collation_version");
  show_line("encoding", api_text(source, "encoding"));
  if (*api_text(source, "collation"))
    printf("  %-14s %s (%s%s%s)%s%s\n", "collation", api_text(source, "collation"),
           api_text(source, "collation_provider"), *now ? " " : "", now,
           *now && *made && strcmp(now, made) != 0 ? ", made with version " : "",
           *now && *made && strcmp(now, made) != 0 ? made : "");
}

static void show_checkpoint(const Cli *cli, const json_t *checkpoint) {
  char text[FORMAT_SIZE], size[TEXT_SIZE_SIZE];
  CLEANUP(buffer_release) Buffer line = {0}, database = {0}, state = {0};
  const char *name = api_text(checkpoint, "state");
  format_outcome(&line, cli->color_out, checkpoint);
  format_database(&database, cli->color_out, api_text(checkpoint, "database"), api_text(checkpoint, "environment"));
  format_state(&state, cli->color_out, api_text(checkpoint, "restore_drill"));
  printf("%s\n\n", buffer_text(&line));
  show_line("id", api_text(checkpoint, "id"));
  show_line("tag", api_text(checkpoint, "tag"));
  show_line("database", buffer_text(&database));
  show_line("state", name);
  show_line("restore drill", buffer_text(&state));
  show_time("created", api_text(checkpoint, "created_at"));
  show_time("finished", api_text(checkpoint, "finished_at"));
  show_time("pinned", api_text(checkpoint, "pinned_at"));
  show_time(*api_text(checkpoint, "pruned_at") ? "pruned" : "being pruned", *api_text(checkpoint, "pruned_at")
                                                                                ? api_text(checkpoint, "pruned_at")
                                                                                : api_text(checkpoint, "pruning_at"));
  if (api_number(checkpoint, "seconds") > 0)
    show_line("took", format_seconds(api_number(checkpoint, "seconds"), text));
  if (api_integer(checkpoint, "size_bytes") > 0) {
    printf("  %-14s %s stored (%s archive)\n", "size", text_size(api_integer(checkpoint, "size_bytes"), size),
           text_size(api_integer(checkpoint, "archive_bytes"), (char[TEXT_SIZE_SIZE]){0}));
    printf("  %-14s %" PRId64 " tables, %" PRId64 " rows (each: pgseal tables %s)\n", "content",
           api_integer(checkpoint, "tables"), api_integer(checkpoint, "rows"), api_text(checkpoint, "id"));
  }
  if (api_integer(checkpoint, "server_major") > 0)
    printf("  %-14s %" PRId64 "\n", "PostgreSQL", api_integer(checkpoint, "server_major"));
  show_source(json_object_get(json_object_get(checkpoint, "detail"), "source"));
  show_line("dumped by", api_text(checkpoint, "dump_agent"));
  show_line("repository", api_text(checkpoint, "prefix"));
  show_line("manifest", api_text(checkpoint, "manifest_sha256"));
  show_line("proof", api_text(checkpoint, "proof_sha256"));
  const json_t *error = json_object_get(checkpoint, "error"), *detail = json_object_get(checkpoint, "detail");
  if (json_is_object(error)) {
    printf("\nWhy it is not sealed\n");
    show_line("code", api_text(error, "code"));
    show_line("message", api_text(error, "message"));
    show_line("object", api_text(error, "object"));
    show_line("remedy", api_text(error, "remedy"));
  }
  show_list("Differences between what was dumped and what was restored", json_object_get(detail, "differences"));
  show_list("What a restore of this checkpoint does not bring back", json_object_get(detail, "omissions"));
  show_assertions(json_object_get(detail, "assertions"));
  show_list("Notes", json_object_get(detail, "notes"));
  show_jobs(cli, json_object_get(checkpoint, "jobs"));
}

ExitCode command_show(Cli *cli, int argc, char **argv) {
  const char *which = NULL, *database = NULL;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "whose tag it is, where several databases have it"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &which, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *checkpoint = NULL;
  if (api_checkpoint(cli, which, database, &checkpoint, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(checkpoint);
  else
    show_checkpoint(cli, checkpoint);
  return EXIT_DONE;
}
