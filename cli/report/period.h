/* Of which time a report is wished: one of --month, --quarter and --week, or --from and --to. */
#ifndef PGSEAL_CLI_REPORT_PERIOD_H
#define PGSEAL_CLI_REPORT_PERIOD_H

#include "cli/options.h"
#include "common/report/report.h"

typedef struct PeriodWish {
  const char *month, *quarter, *week, *from, *to; /* NULL where it is not given */
} PeriodWish;

#define PERIOD_OPTIONS(wish)                                                                                           \
  {"month", OPTION_TEXT, &(wish)->month, "YYYY-MM", "from its first midnight to the next month's, UTC"},               \
      {"quarter", OPTION_TEXT, &(wish)->quarter, "YYYY-QN", "such as 2026-Q4"},                                        \
      {"week", OPTION_TEXT, &(wish)->week, "YYYY-WNN", "such as 2026-W45, from its Monday (ISO 8601)"},                \
      {"from", OPTION_TEXT, &(wish)->from, "TIME", "2026-10-01 or 2026-10-01T12:00:00Z; included"}, {                  \
    "to", OPTION_TEXT, &(wish)->to, "TIME", "the same; excluded"                                                       \
  }

bool period_wished(const PeriodWish *wish);         /* any of them is given */
const char *period_problem(const PeriodWish *wish); /* what does not go together; NULL: nothing */
/* Of one that is given, and has no problem: is it a period, and begun? ERR_INVALID_ARGUMENT. */
Status period_take(const PeriodWish *wish, int64_t *from_us, int64_t *to_us, Error *err) MUST_CHECK;

#endif
