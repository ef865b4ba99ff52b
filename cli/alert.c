/* pgseal alert: what fires, whether those who are to be told of it are, and what they are not told for a while. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "cli/sent.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

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
    bool silenced = json_is_object(json_object_get(item, "silenced"));
    bool acknowledged = json_is_object(json_object_get(item, "acknowledged"));
    table_add(&table, "%s%s%s%s%s%s",
              cli_style(cli->color_out, fires && critical ? STYLE_BAD
                                        : fires           ? STYLE_WARN
                                                          : STYLE_GOOD),
              fires && critical ? "critical, " : "", state, silenced ? ", silenced" : "",
              acknowledged ? ", acknowledged" : "", cli_reset(cli->color_out));
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
  return sent_tell(cli, sent, "the test",
                   "Check the route in coordinator.yaml, and the files that it names; docs/alerts.md.");
}

/* ---- silences ---- */

/* What it is of: "checkpoint_failed/shop", "restore_slow of shop", "all of shop". */
static void describe(const json_t *one, Buffer *out) {
  const char *key = api_text(one, "key"), *database = api_text(one, "database"),
             *condition = api_text(one, "condition");
  if (*key)
    buffer_append_text(out, key);
  else
    buffer_append_format(out, "%s%s%s", *condition ? condition : "all", *database ? " of " : "", database);
}

static ExitCode quiet(Cli *cli, const char *path, json_t *body) {
  CLEANUP(api_release) json_t *given = body;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(buffer_release) Buffer what = {0};
  Error err;
  char until[FORMAT_SIZE];
  if (api_call(cli, "POST", path, given, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  const json_t *one = json_object_get(json, "silence");
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  describe(one, &what);
  if (api_true(one, "acknowledged"))
    printf("%s is acknowledged: it is told again when it is over. To take that back: pgseal alert unsilence %s\n",
           buffer_text(&what), api_text(one, "id"));
  else
    printf("%s: nobody is told until %s. To end that before: pgseal alert unsilence %s\n", buffer_text(&what),
           format_time(api_text(one, "until"), until), api_text(one, "id"));
  return EXIT_DONE;
}

ExitCode command_alert_silence(Cli *cli, int argc, char **argv) {
  const char *key = NULL, *database = NULL, *condition = NULL, *span = NULL, *reason = NULL;
  const Option options[] = {
      {"database", OPTION_TEXT, &database, "NAME", "all alerts of this database, also those to come"},
      {"condition", OPTION_TEXT, &condition, "NAME", "all alerts of this kind, such as restore_slow"},
      {"for", OPTION_TEXT, &span, "TIME", "how long: 30m, 2h, 3d (needed)"},
      {"reason", OPTION_TEXT, &reason, "TEXT", "why, for whoever wonders (needed)"}};
  ExitCode code;
  int64_t seconds = 0;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 1, &key, &code))
    return code;
  Error err;
  if (!span || !text_duration(span, &seconds)) {
    error_set(&err, ERR_INVALID_ARGUMENT, span ? "--for '%s' is no time such as 30m, 2h, 3d" : "--for is missing%s",
              span ? span : "");
    return cli_fail(cli, &err);
  }
  json_t *body = json_pack("{s:I, s:s*, s:s*, s:s*, s:s*}", "seconds", (json_int_t)seconds, "key", key, "database",
                           database, "condition", condition, "reason", reason);
  return quiet(cli, "/api/v1/silences", body);
}

ExitCode command_alert_acknowledge(Cli *cli, int argc, char **argv) {
  const char *key = NULL, *reason = NULL;
  const Option options[] = {{"reason", OPTION_TEXT, &reason, "TEXT", "who does what about it (needed)"}};
  ExitCode code;
  if (!cli_parse(cli, options, 1, true, argc, argv, 1, 1, &key, &code))
    return code;
  return quiet(cli, "/api/v1/alerts/acknowledge", json_pack("{s:s, s:s*}", "key", key, "reason", reason));
}

ExitCode command_alert_unsilence(Cli *cli, int argc, char **argv) {
  const char *id = NULL;
  ExitCode code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &id, &code))
    return code;
  CLEANUP_FREE char *escaped = http_escape(id);
  CLEANUP_FREE char *path = memory_format("/api/v1/silences/%s", escaped);
  if (api_call(cli, "DELETE", path, NULL, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    printf("%s has ended; what fires is told.\n", id);
  return EXIT_DONE;
}

ExitCode command_alert_silences(Cli *cli, int argc, char **argv) {
  static const char *const heading[] = {"SILENCE", "OF", "SINCE", "UNTIL", "BY", "REASON"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  CLEANUP(api_release) json_t *json = NULL;
  bool all = false;
  const Option options[] = {{"all", OPTION_FLAG, &all, NULL, "also those that have ended"}};
  ExitCode code;
  Error err;
  if (!cli_parse(cli, options, 1, true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (api_get(cli, &json, &err, "/api/v1/silences%s", all ? "?state=all" : "") != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  const json_t *item;
  size_t index;
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(json_object_get(json, "silences"), index, item) {
    char since[FORMAT_SIZE], until[FORMAT_SIZE];
    CLEANUP(buffer_release) Buffer what = {0};
    const char *ended = api_text(item, "ended_at");
    describe(item, &what);
    table_add(&table, "%s", api_text(item, "id"));
    table_add(&table, "%s", buffer_text(&what));
    table_add(&table, "%s", format_age(api_text(item, "since"), since));
    table_add(&table, "%s",
              *ended                           ? format_time(ended, until)
              : api_true(item, "acknowledged") ? "it is over"
                                               : format_time(api_text(item, "until"), until));
    table_add(&table, "%s", api_text(item, "by"));
    table_add(&table, "%s", api_text(item, "reason"));
  }
  if (json_array_size(json_object_get(json, "silences")) > 0)
    table_print(&table, stdout, cli->color_out);
  else
    printf("Nothing is silenced.\n");
  return EXIT_DONE;
}
