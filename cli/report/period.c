#include "cli/report/period.h"

#include "common/base/clock.h"

bool period_wished(const PeriodWish *wish) {
  return wish->month || wish->quarter || wish->week || wish->from || wish->to;
}

const char *period_problem(const PeriodWish *wish) {
  int ways = (wish->month != NULL) + (wish->quarter != NULL) + (wish->week != NULL) + (wish->from || wish->to);
  if (ways == 0 || (ways == 1 && !wish->from != !wish->to))
    return "of which time? --month 2026-10, --quarter 2026-Q4, --week 2026-W45, or --from 2026-10-01 --to 2026-11-01";
  return ways > 1 ? "either --month, --quarter or --week, or --from and --to" : NULL;
}

static Status read_period(const PeriodWish *wish, int64_t *from_us, int64_t *to_us, Error *err) {
  if (wish->month)
    return report_month_parse(wish->month, from_us, to_us, err);
  if (wish->quarter)
    return report_quarter_parse(wish->quarter, from_us, to_us, err);
  if (wish->week)
    return report_week_parse(wish->week, from_us, to_us, err);
  Status status = report_time_parse(wish->from, from_us, err);
  return status ? status : report_time_parse(wish->to, to_us, err);
}

Status period_take(const PeriodWish *wish, int64_t *from_us, int64_t *to_us, Error *err) {
  Status status = read_period(wish, from_us, to_us, err);
  return status ? status : report_period_check(*from_us, *to_us, clock_wall_us(), err);
}
