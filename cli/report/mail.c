/* pgseal report list, report send: reports that are sent by mail. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/report/period.h"
#include "cli/sent.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { SEND_SECONDS = 900 }; /* of a large fleet it takes a while to make one */

static const char *of_whom(const json_t *report) {
  static const char *const keys[] = {"owner", "environment", "databases"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
    if (*api_text(report, keys[i]))
      return api_text(report, keys[i]);
  return "the fleet";
}

ExitCode command_report_list(Cli *cli, int argc, char **argv) {
  static const char *const heading[] = {"REPORT", "OF", "PERIOD", "TO", "NEXT"};
  ExitCode code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  const json_t *item;
  size_t index;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (api_get(cli, &json, &err, "/api/v1/reports/plans") != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(json_object_get(json, "reports"), index, item) {
    char when[FORMAT_SIZE];
    table_add(&table, "%s", api_text(item, "name"));
    table_add(&table, "%s", of_whom(item));
    table_add(&table, "%s", api_text(item, "period"));
    table_add(&table, "%s", api_text(item, "to"));
    table_add(&table, "%s", format_time(api_text(item, "next_at"), when));
  }
  if (json_array_size(json_object_get(json, "reports")) > 0)
    table_print(&table, stdout, cli->color_out);
  else
    printf("No reports are sent: coordinator.yaml has none under `reports`.\n");
  return EXIT_DONE;
}

static json_t *body_of(const char *name, int64_t from_us, int64_t to_us) {
  char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
  json_t *body = json_pack("{s:s}", "report", name);
  if (from_us > 0) {
    json_object_set_new(body, "from", json_string(clock_format(from_us, from)));
    json_object_set_new(body, "to", json_string(clock_format(to_us, to)));
  }
  return body;
}

ExitCode command_report_send(Cli *cli, int argc, char **argv) {
  const char *name = NULL;
  PeriodWish wish = {0};
  const Option options[] = {PERIOD_OPTIONS(&wish)};
  int64_t from_us = 0, to_us = 0;
  ExitCode code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *sent = NULL;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 1, 1, &name, &code))
    return code;
  if (period_wished(&wish) && period_problem(&wish))
    return cli_usage(cli, "%s", period_problem(&wish));
  if (period_wished(&wish) && period_take(&wish, &from_us, &to_us, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  CLEANUP(api_release) json_t *body = body_of(name, from_us, to_us);
  if (api_call(cli, "POST", "/api/v1/reports/send", body, NULL, &json, &err) != STATUS_OK ||
      api_notification(cli, api_text(json, "id"), SEND_SECONDS, &sent, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  CLEANUP_FREE char *what = memory_format("report %s", name);
  CLEANUP_FREE char *remedy =
      memory_format("`pgseal alert test %s` tries the route alone; docs/reports.md.", api_text(sent, "route"));
  return sent_tell(cli, sent, what, remedy);
}
