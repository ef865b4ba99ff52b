#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/metrics/internal.h"

const char *const counted_checkpoints[COUNTED_OUTCOMES] = {"sealed", "failed", "errored", "canceled"};
const char *const counted_drills[COUNTED_OUTCOMES] = {"proven", "failed", "errored", "canceled"};

/* The outcome that an event's kind tells; -1: none. */
static int outcome_of(const char *kind, const char *prefix, const char *const *outcomes) {
  size_t length = strlen(prefix);
  if (strncmp(kind, prefix, length) != 0)
    return -1;
  for (int i = 0; i < COUNTED_OUTCOMES; i++)
    if (strcmp(kind + length, outcomes[i]) == 0)
      return i;
  return -1;
}

static Counted *counted(Counters *counters, const char *database) {
  Counted *known = names_get(&counters->names, database);
  if (known)
    return known;
  known = memory_alloc(sizeof *known);
  known->database = memory_strdup(database);
  ARRAY_PUSH(counters->databases, counters->database_count, known);
  names_put(&counters->names, known->database, known);
  return known;
}

static void count_kind(Counters *counters, const char *kind) {
  size_t at = 0;
  while (at < counters->kind_count && strcmp(counters->kinds[at].kind, kind) != 0)
    at++;
  if (at == COUNTED_KINDS)
    return; /* they are written in the code: there are not as many */
  if (at == counters->kind_count)
    counters->kinds[counters->kind_count++].kind = memory_strdup(kind);
  counters->kinds[at].count++;
}

void counters_event(Counters *counters, const LedgerEvent *event) {
  int checkpoint = outcome_of(event->kind, "checkpoint.", counted_checkpoints),
      drill = outcome_of(event->kind, "drill.", counted_drills);
  if (checkpoint >= 0 && event->database) /* of a database that the fleet had: dispatch takes no other */
    counted(counters, event->database)->checkpoints[checkpoint]++;
  if (drill >= 0)
    counters->drills[drill]++;
  count_kind(counters, event->kind);
}

const Counted *counters_of(const Counters *counters, const char *database) {
  return names_get(&counters->names, database);
}

void counters_release(Counters *counters) {
  for (size_t i = 0; i < counters->database_count; i++) {
    free(counters->databases[i]->database);
    free(counters->databases[i]);
  }
  for (size_t i = 0; i < counters->kind_count; i++)
    free(counters->kinds[i].kind);
  free(counters->databases);
  names_release(&counters->names);
  *counters = (Counters){0};
}
