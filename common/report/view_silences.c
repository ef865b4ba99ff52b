/* Of which alerts nobody was told for a while, and which somebody looked after: who said so, and why. */
#include "common/report/view.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* "checkpoint_failed/shop", "restore_slow of shop", "restore_slow, whatever it is of", "all of shop". */
static void what_cell(ViewItem *table, const json_t *row) {
  const char *key = view_text(row, "key"), *database = view_text(row, "database"),
             *condition = view_text(row, "condition");
  if (*key)
    view_cell(table, TONE_PLAIN, "%s", key);
  else
    view_cell(table, TONE_PLAIN, "%s%s%s", *condition ? condition : "all", *database ? " of " : ", whatever it is of",
              database);
}

static void until_cell(ViewItem *table, const json_t *row) {
  char until[VIEW_TEXT_SIZE], ended[VIEW_TEXT_SIZE];
  bool acknowledged = view_true(row, "acknowledged");
  view_time(view_integer(row, "until_us"), until);
  view_time(view_integer(row, "ended_us"), ended);
  if (view_integer(row, "ended_us") == 0)
    view_cell(table, TONE_PLAIN, "%s", acknowledged ? "the alert is over" : until);
  else if (*view_text(row, "ended_by"))
    view_cell(table, TONE_PLAIN, "%s, ended by %s%s%s", ended, view_text(row, "ended_by"),
              acknowledged ? "" : " before ", acknowledged ? "" : until);
  else
    view_cell(table, TONE_PLAIN, "%s", ended);
}

/* At the end of the period it still was. */
static bool in_force(const json_t *row, int64_t end_us) {
  int64_t until_us = view_integer(row, "until_us"), ended_us = view_integer(row, "ended_us");
  return (until_us == 0 || until_us > end_us) && (ended_us == 0 || ended_us > end_us);
}

void view_summary_silences(ViewItem *facts, const json_t *report) {
  const json_t *rows = json_object_get(report, "silences"), *row;
  int64_t silenced = 0, acknowledged = 0, still = 0;
  size_t index;
  if (!json_is_array(rows)) /* of a pgseal that did not tell */
    return;
  json_array_foreach(rows, index, row) {
    silenced += !view_true(row, "acknowledged");
    acknowledged += view_true(row, "acknowledged");
    still += in_force(row, view_integer(report, "end_us"));
  }
  if (silenced + acknowledged == 0)
    view_fact(facts, "Alerts", TONE_PLAIN, "nobody silenced or acknowledged any");
  else
    view_fact(facts, "Alerts", TONE_PLAIN,
              "%" PRId64 " silence%s, %" PRId64 " acknowledgement%s by people; %" PRId64 " still in force at the end",
              silenced, silenced == 1 ? "" : "s", acknowledged, acknowledged == 1 ? "" : "s", still);
}

void view_silences(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"From (UTC)", 13, false, false}, {"Until (UTC)", 15, false, false},
                                       {"What", 14, false, false},       {"Alerts", 20, false, false},
                                       {"By", 19, false, false},         {"Why", 19, false, false}};
  const json_t *rows = json_object_get(report, "silences"), *row;
  size_t index;
  if (!json_is_array(rows))
    return;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Who silenced or acknowledged which alerts");
  if (json_array_size(rows) == 0) {
    view_add(view, VIEW_TEXT, TONE_PLAIN, false, "Nobody did, nor was anything silenced when the period began.");
    return;
  }
  ViewItem *table = view_table(view, VIEW_TABLE, false, columns, sizeof columns / sizeof *columns);
  json_array_foreach(rows, index, row) {
    char since[VIEW_TEXT_SIZE];
    const char *by = view_text(row, "by");
    view_cell(table, TONE_PLAIN, "%s", view_time(view_integer(row, "since_us"), since));
    until_cell(table, row);
    view_cell(table, TONE_PLAIN, "%s", view_true(row, "acknowledged") ? "acknowledged" : "silenced");
    what_cell(table, row);
    view_cell(table, TONE_PLAIN, "%s", *by ? by : "-");
    view_cell(table, TONE_PLAIN, "%s", view_text(row, "reason"));
  }
  view_add(view, VIEW_TEXT, TONE_DIM, false,
           "All that were in force at some time of the period. Of what is silenced nobody is told until then; what is "
           "acknowledged is not told again, until it is over. Neither changes what fires, nor hides it, nor anything "
           "else in this report.");
}
