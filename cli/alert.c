/* pgseal alert list, alert test: what fires, and whether those who are to be told of it are. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "common/base/cleanup.h"

enum { TEST_SECONDS = 40 };

static void print_alerts(const Cli *cli, const json_t *list) {
  static const char *const heading[] = {"ALERT", "OF", "STATE", "SINCE", "WHAT"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  const json_t *item;
  size_t index;
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(list, index, item) {
    char age[FORMAT_SIZE];
    const char *state = api_text(item, "state");
    bool critical = strcmp(api_text(item, "severity"), "critical") == 0, fires = strcmp(state, "firing") == 0;
    table_add(&table, "%s", api_text(item, "condition"));
    table_add(&table, "%s", api_text(item, "subject"));
    table_add(&table, "%s%s%s%s",
              cli_style(cli->color_out, fires && critical ? STYLE_BAD
                                        : fires           ? STYLE_WARN
                                                          : STYLE_GOOD),
              fires && critical ? "critical, " : "", state, cli_reset(cli->color_out));
    table_add(&table, "%s", format_age(api_text(item, "since"), age));
    table_add(&table, "%s", api_text(item, "summary"));
  }
  if (json_array_size(list) > 0)
    table_print(&table, stdout, cli->color_out);
  else
    printf("No alerts.\n");
}

static void print_routes(const Cli *cli, const json_t *list) {
  static const char *const heading[] = {"ROUTE", "TYPE", "WAITING", "LAST SENT", "PROBLEM"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  const json_t *item;
  size_t index;
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(list, index, item) {
    char age[FORMAT_SIZE];
    table_add(&table, "%s", api_text(item, "name"));
    table_add(&table, "%s", api_text(item, "type"));
    table_add(&table, "%lld", (long long)api_integer(item, "waiting"));
    table_add(&table, "%s", format_age(api_text(item, "sent_at"), age));
    table_add(&table, "%s%s%s", cli_style(cli->color_out, STYLE_BAD), api_text(item, "error"),
              cli_reset(cli->color_out));
  }
  if (json_array_size(list) == 0)
    return;
  printf("\n");
  table_print(&table, stdout, cli->color_out);
}

ExitCode command_alert_list(Cli *cli, int argc, char **argv) {
  bool all = false;
  const Option options[] = {{"all", OPTION_FLAG, &all, NULL, "also what is over"}};
  ExitCode code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (api_get(cli, &json, &err, "/api/v1/alerts%s", all ? "?state=all" : "") != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  print_alerts(cli, json_object_get(json, "alerts"));
  print_routes(cli, json_object_get(json, "routes"));
  fflush(stdout);
  return EXIT_DONE;
}

ExitCode command_alert_test(Cli *cli, int argc, char **argv) {
  const char *route = NULL;
  ExitCode code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *sent = NULL;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &route, &code))
    return code;
  CLEANUP(api_release) json_t *body = json_pack("{s:s}", "route", route);
  if (api_call(cli, "POST", "/api/v1/alerts/test", body, NULL, &json, &err) != STATUS_OK ||
      api_notification(cli, api_text(json, "id"), TEST_SECONDS, &sent, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  bool fine = strcmp(api_text(sent, "state"), "sent") == 0;
  if (cli->json) {
    cli_print_json(sent);
    return fine ? EXIT_DONE : EXIT_ERRORED;
  }
  if (fine) {
    printf("The receiver of %s has message %s.\n", route, api_text(sent, "id"));
    return EXIT_DONE;
  }
  error_set(&err, ERR_UNAVAILABLE, "the test did not get there by route %s: %s", route, api_text(sent, "error"));
  error_remedy(&err, "Check the route in coordinator.yaml, and the files that it names; docs/alerts.md.");
  (void)cli_fail(cli, &err);
  return EXIT_ERRORED;
}
