/* pgseal rotation: what is drilled again next, and whether the budget is enough. */
#include <string.h>

#include "cli/api.h"
#include "cli/format.h"
#include "common/base/cleanup.h"
#include "common/base/text.h"

static double number(const json_t *object, const char *member) {
  return json_number_value(json_object_get(object, member));
}

static void print_queue(const Cli *cli, const json_t *json) {
  static const char *const heading[] = {"DATABASE", "CHECKPOINT", "KIND", "PROOF", "URGENCY", "RISK", "DUE"};
  CLEANUP(table_release) Table table = {.columns = ARRAY_SIZE(heading)};
  const json_t *list = json_object_get(json, "queue"), *item;
  size_t index;
  for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
    table_add(&table, "%s", heading[i]);
  json_array_foreach(list, index, item) {
    char age[FORMAT_SIZE];
    double urgency = number(item, "urgency");
    table_add(&table, "%s", api_text(item, "database"));
    table_add(&table, "%s", api_text(item, "checkpoint"));
    table_add(&table, "%s", api_text(item, "kind"));
    table_add(&table, "%s", format_age(api_text(item, "proven_at"), age));
    table_add(&table, "%s%.2f%s", cli_style(cli->color_out, urgency > 1 ? STYLE_WARN : STYLE_GOOD), urgency,
              cli_reset(cli->color_out));
    table_add(&table, "%.2f", number(item, "risk"));
    table_add(&table, "%s", api_text(item, "due_at"));
  }
  if (json_array_size(list) > 0)
    table_print(&table, stdout, cli->color_out);
}

static void print_budget(const char *what, const json_t *budget) {
  char bytes[TEXT_SIZE_SIZE];
  printf("%s: %lld slot%s", what, (long long)api_integer(budget, "slots"),
         api_integer(budget, "slots") == 1 ? "" : "s");
  if (json_is_number(json_object_get(budget, "hours_per_day")))
    printf(", %.1f hours a day", number(budget, "hours_per_day"));
  if (json_is_integer(json_object_get(budget, "bytes_per_day")))
    printf(", %s a day", text_size(api_integer(budget, "bytes_per_day"), bytes));
  printf("\n");
}

static void print_forecast(const json_t *json) {
  const json_t *forecast = json_object_get(json, "forecast"), *first = json_object_get(forecast, "first_miss");
  if (!json_is_object(forecast)) {
    printf("forecast: not made yet\n");
    return;
  }
  int64_t unproven = api_integer(forecast, "unproven"), barred = api_integer(forecast, "barred");
  const json_t *needed = json_object_get(forecast, "needed");
  if (api_true(forecast, "enough") && api_integer(json, "items") == 0)
    printf("forecast: no database has an objective for the age of its proof\n");
  else if (api_true(forecast, "enough"))
    printf("forecast: enough, up to %s\n", api_text(forecast, "until"));
  if (json_is_object(first))
    printf("forecast: %lld proofs of %lld databases will be older than their objective; the first is %s's, at %s\n",
           (long long)api_integer(forecast, "missed"), (long long)api_integer(forecast, "missing_databases"),
           api_text(first, "database"), api_text(first, "at"));
  if (barred > 0)
    printf("forecast: no agent that is there can drill %lld of the databases, or offers their image: no budget helps\n",
           (long long)barred);
  if (unproven > 0)
    printf(
        "forecast: of %lld databases with an objective nothing was ever proven: a checkpoint has to be sealed first\n",
        (long long)unproven);
  if (json_is_object(first) && json_is_object(needed) && !json_equal(needed, json_object_get(json, "budget")))
    print_budget("it would take", needed);
}

ExitCode command_rotation(Cli *cli, int argc, char **argv) {
  ExitCode code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 0, 0, NULL, &code))
    return code;
  if (api_get(cli, &json, &err, "/api/v1/rotation") != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    cli_print_json(json);
    return EXIT_DONE;
  }
  print_queue(cli, json);
  print_budget("budget", json_object_get(json, "budget"));
  printf("load: %.0f %% of it; %lld proofs to keep, %lld older than their objective, %lld drills under way\n",
         100 * number(json, "load"), (long long)api_integer(json, "items"), (long long)api_integer(json, "late"),
         (long long)api_integer(json, "running"));
  print_forecast(json);
  fflush(stdout);
  return EXIT_DONE;
}
