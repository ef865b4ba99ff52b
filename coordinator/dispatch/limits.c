/* How many dumps may run at once: in the fleet, on one host, of one owner. Looked at when an agent asks for work; what
 * is reckoned once for one poll. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void limits_release(Limits *limits) {
  free(limits->hosts);
  free(limits->owners);
  *limits = (Limits){0};
}

static void reckon(const Dispatch *dispatch, const OpenJob *open, Limits *limits) {
  size_t hosts = 0, owners = 0;
  for (; open; open = open->after) {
    if (open->job.kind != LEDGER_JOB_DUMP || !job_held(&open->job))
      continue;
    const FleetDatabase *database = fleet_database(dispatch->fleet, open->job.database);
    ARRAY_PUSH(limits->hosts, hosts, database ? database->host : "");
    ARRAY_PUSH(limits->owners, owners, database ? database->config.owner : "");
  }
  limits->reckoned = true;
  limits->running = hosts;
  if (hosts == 0)
    return;
  qsort(limits->hosts, hosts, sizeof *limits->hosts, by_text);
  qsort(limits->owners, owners, sizeof *limits->owners, by_text);
}

/* How many of the first so many of the list come before that text; with_equal: or are it. */
static size_t before(const char *const *list, size_t count, const char *text, bool with_equal) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    int order = strcmp(list[middle], text);
    if (order < 0 || (with_equal && order == 0))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool room(const char *const *list, size_t count, const char *text, int limit) {
  if (limit <= 0 || !text[0])
    return true;
  return before(list, count, text, true) - before(list, count, text, false) < (size_t)limit;
}

bool limits_allow(const Dispatch *dispatch, const OpenJob *first, const LedgerJob *job, Limits *limits) {
  const FleetLimits *fleet = fleet_limits(dispatch->fleet);
  const FleetDatabase *database = fleet_database(dispatch->fleet, job->database);
  const FleetQuota *quota = database ? fleet_quota(dispatch->fleet, database->config.owner) : NULL;
  if (!database || (fleet->running == 0 && fleet->host_running == 0 && (!quota || quota->running == 0)))
    return true;
  if (!limits->reckoned)
    reckon(dispatch, first, limits);
  if (fleet->running > 0 && limits->running >= (size_t)fleet->running)
    return false;
  return room(limits->hosts, limits->running, database->host, fleet->host_running) &&
         room(limits->owners, limits->running, database->config.owner, quota ? quota->running : 0);
}
