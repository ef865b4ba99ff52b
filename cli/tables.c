/* pgseal tables: what is in a checkpoint, beside the one before it. */
#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

enum { TABLES_SHOWN = 40, TABLES_MOST = 10000 };

static void add_change(Table *table, const Cli *cli, const json_t *item) {
  const char *change = api_text(item, "change");
  int64_t rows = api_integer(item, "rows_change"), bytes = api_integer(item, "bytes_change");
  if (strcmp(change, "removed") == 0)
    table_add(table, "%sgone%s", cli_style(cli->color_out, STYLE_BAD), cli_reset(cli->color_out));
  else if (strcmp(change, "added") == 0)
    table_add(table, "new");
  else if (strcmp(change, "unlisted") == 0)
    table_add(table, "not known: beyond what is listed");
  else if (rows != 0)
    table_add(table, "%s%+" PRId64 "%s", rows < 0 ? cli_style(cli->color_out, STYLE_BAD) : "", rows,
              rows < 0 ? cli_reset(cli->color_out) : "");
  else
    table_add(table, "%s", bytes ? "rows changed" : *change ? "" : "-");
}

static void show_rows(const Cli *cli, const json_t *answer) {
  CLEANUP(table_release) Table table = {.columns = 4};
  char size[TEXT_SIZE_SIZE];
  const json_t *item;
  size_t index;
  static const char *const heading[] = {"TABLE", "ROWS", "BYTES", "ROWS SINCE"};
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(json_object_get(answer, "missing"), index, item) {
    table_add(&table, "%s.%s", api_text(item, "schema"), api_text(item, "name"));
    table_add(&table, "had %" PRId64, api_integer(item, "rows"));
    table_add(&table, "%s", text_size(api_integer(item, "bytes"), size));
    add_change(&table, cli, item);
  }
  json_array_foreach(json_object_get(answer, "list"), index, item) {
    table_add(&table, "%s.%s", api_text(item, "schema"), api_text(item, "name"));
    table_add(&table, "%" PRId64, api_integer(item, "rows"));
    table_add(&table, "%s", text_size(api_integer(item, "bytes"), size));
    add_change(&table, cli, item);
  }
  table_print(&table, stdout, cli->color_out);
}

static void show_head(const json_t *answer) {
  const json_t *previous = json_object_get(answer, "previous"), *changes = json_object_get(answer, "changes");
  char rows[FORMAT_SIZE];
  int64_t tables = api_integer(answer, "tables");
  printf("%s of %s: %" PRId64 " table%s, %s rows, as its dump told them%s\n", api_text(answer, "tag"),
         api_text(answer, "database"), tables, tables == 1 ? "" : "s", format_count(api_integer(answer, "rows"), rows),
         strcmp(api_text(answer, "state"), "sealed") == 0 ? "; the drill compared every one of them" : "");
  if (!json_is_object(previous))
    printf("There is no sealed checkpoint before it to compare with.\n");
  else if (!json_is_object(changes))
    printf("Of the sealed one before it (%s) the tables are not known.\n", api_text(previous, "tag"));
  else
    printf("Since %s (%s): %" PRId64 " new, %" PRId64 " gone, %" PRId64 " changed\n", api_text(previous, "tag"),
           api_text(previous, "id"), api_integer(changes, "added"), api_integer(changes, "removed"),
           api_integer(changes, "changed"));
}

static void show_rest(const json_t *answer, int limit) {
  int64_t more = api_integer(answer, "more");
  size_t listed = (size_t)api_integer(answer, "listed"), shown = json_array_size(json_object_get(answer, "list"));
  if (shown < listed && shown == (size_t)limit)
    printf("... and %zu more; --limit %zu shows them\n", listed - shown, listed);
  if (more > 0)
    printf("%" PRId64 " more tables, the smallest, are not listed: the manifest in the repository has them\n", more);
}

static void show(const Cli *cli, const json_t *answer, int limit) {
  if (!api_true(answer, "known")) {
    printf("The tables of %s are not known: %s\n", api_text(answer, "tag"),
           *api_text(answer, "pruned_at") ? "it was pruned"
           : api_integer(answer, "tables") > 0
               ? "its dump was made by an agent that does not tell them, or it was rebuilt from the repository. "
                 "`pgseal plan` reads them"
               : "nothing of it is stored");
    return;
  }
  show_head(answer);
  printf("\n");
  show_rows(cli, answer);
  show_rest(answer, limit);
}

ExitCode command_tables(Cli *cli, int argc, char **argv) {
  const char *which = NULL, *database = NULL, *order = "bytes";
  int limit = TABLES_SHOWN;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "whose tag it is, where several databases have it"},
      {"by", OPTION_TEXT, &order, "WHAT", "in the order of bytes (as it is), rows, change or name"},
      {"limit", OPTION_INTEGER, &limit, "N", "how many are shown (40)"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &which, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *checkpoint = NULL, *answer = NULL;
  CLEANUP_FREE char *by = http_escape(order);
  if (limit < 1 || limit > TABLES_MOST)
    limit = TABLES_MOST;
  Status status = api_checkpoint(cli, which, database, &checkpoint, &err);
  if (status == STATUS_OK)
    status = api_get(cli, &answer, &err, "/api/v1/checkpoints/%s/tables?order=%s&limit=%d", api_text(checkpoint, "id"),
                     by, cli->json ? TABLES_MOST : limit);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(answer);
  else
    show(cli, answer, limit);
  return EXIT_DONE;
}
