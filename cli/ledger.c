/* pgseal ledger: how checkpoints ended, or everything that happened. */
#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { LEDGER_DEFAULT = 20, LEDGER_LIMIT = 100000, LEDGER_PAGE = 500 };

/* The newest `limit` events, oldest first. The API gives pages in the order of the chain. */
static Status ledger_read(Cli *cli, const char *database, size_t limit, json_t **out, Error *err) {
  CLEANUP(api_release) json_t *kept = json_array();
  int64_t after = 0;
  for (;;) {
    CLEANUP(api_release) json_t *page = NULL;
    Status status = api_get(cli, &page, err, "/api/v1/ledger?after=%" PRId64 "&limit=%d", after, LEDGER_PAGE);
    if (status != STATUS_OK)
      return status;
    json_t *events = json_object_get(page, "events"), *event;
    size_t index;
    int64_t last = after;
    json_array_foreach(events, index, event) {
      if (!database || strcmp(api_text(event, "database"), database) == 0)
        json_array_append(kept, event);
      last = api_integer(event, "sequence");
    }
    while (json_array_size(kept) > limit)
      json_array_remove(kept, 0);
    if (json_array_size(events) == 0 || last <= after)
      break;
    after = last;
  }
  *out = json_pack("{s:O}", "events", kept);
  return STATUS_OK;
}

static void ledger_print_events(const Cli *cli, const json_t *json) {
  CLEANUP(table_release) Table table = {.columns = 6};
  static const char *const heading[] = {"#", "TIME", "EVENT", "DATABASE", "BY", "CHECKPOINT"};
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  const json_t *events = json_object_get(json, "events"), *event;
  size_t index;
  char when[FORMAT_SIZE];
  json_array_foreach(events, index, event) {
    const char *by = *api_text(event, "agent") ? api_text(event, "agent") : api_text(event, "actor");
    table_add(&table, "%" PRId64, api_integer(event, "sequence"));
    table_add(&table, "%s", format_time(api_text(event, "time"), when));
    table_add(&table, "%s", api_text(event, "kind"));
    table_add(&table, "%s", *api_text(event, "database") ? api_text(event, "database") : "-");
    table_add(&table, "%s", *by ? by : "-");
    table_add(&table, "%s", *api_text(event, "checkpoint_id") ? api_text(event, "checkpoint_id") : "-");
  }
  table_print(&table, stdout, cli->color_out);
}

/* Oldest first, so that the newest is where the eye is. */
static void ledger_print_checkpoints(const Cli *cli, const json_t *json, const char *database) {
  const json_t *list = json_object_get(json, "checkpoints");
  char day[FORMAT_SIZE], shown[FORMAT_SIZE] = "";
  for (size_t i = json_array_size(list); i-- > 0;) {
    const json_t *checkpoint = json_array_get(list, i);
    CLEANUP(buffer_release) Buffer line = {0};
    const char *ended = api_text(checkpoint, "finished_at"); /* as the line's clock */
    format_time(*ended ? ended : api_text(checkpoint, "created_at"), day);
    const char *zone = strrchr(day, ' ');
    memmove(day + strcspn(day, " "), zone ? zone : "", zone ? strlen(zone) + 1 : 1);
    if (strcmp(day, shown) != 0)
      printf("%s%s%s\n", cli_style(cli->color_out, STYLE_DIM), day, cli_reset(cli->color_out));
    memcpy(shown, day, sizeof shown);
    format_outcome(&line, cli->color_out, checkpoint);
    printf("%s \xc2\xb7 %s \xc2\xb7 %s%s%s\n", buffer_text(&line), api_text(checkpoint, "tag"),
           cli_style(cli->color_out, STYLE_DIM), api_text(checkpoint, "id"), cli_reset(cli->color_out));
  }
  if (json_array_size(list) == 0 && database)
    printf("No checkpoints of '%s'; `pgseal databases` lists the databases.\n", database);
  else if (json_array_size(list) == 0)
    printf("No checkpoints yet: pgseal checkpoint DATABASE --tag TAG\n");
}

ExitCode command_ledger(Cli *cli, int argc, char **argv) {
  const char *database = NULL;
  int limit = 0;
  bool all = false;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "of this database only"},
      {"limit", OPTION_INTEGER, &limit, "N", "the newest N (default 20; with --json all events)"},
      {"events", OPTION_FLAG, &all, NULL, "every event of the hash-chained record, not only how checkpoints ended"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if (cli->json || all) {
    if (ledger_read(cli, database,
                    limit       ? (size_t)limit
                    : cli->json ? LEDGER_LIMIT
                                : LEDGER_DEFAULT,
                    &json, &err) != STATUS_OK)
      return cli_fail(cli, &err);
    if (cli->json)
      cli_print_json(json);
    else
      ledger_print_events(cli, json);
    return EXIT_DONE;
  }
  CLEANUP_FREE char *escaped = http_escape(database ? database : "");
  if (api_get(cli, &json, &err, "/api/v1/checkpoints?limit=%d%s%s", limit ? limit : LEDGER_DEFAULT,
              database ? "&database=" : "", escaped) != STATUS_OK)
    return cli_fail(cli, &err);
  ledger_print_checkpoints(cli, json, database);
  return EXIT_DONE;
}
