#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { WATCH_INTERVAL_US = 25000 };

typedef struct Held {
  int pid;
  uint32_t oid;
  RehearsalMode mode;
  int64_t first_us, last_us;
} Held;

struct RehearsalWatch {
  RehearsalRelations *relations; /* the thread's until it has ended */
  PGconn *session;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  bool stop;
  Held *held;
  size_t held_count;
};

static const char *const mode_names[] = {"SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"};
static const char *const server_names[] = {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock",
                                           "AccessExclusiveLock"};

const char *rehearsal_mode_name(RehearsalMode mode) {
  return mode_names[mode];
}

static const char prepare_sql[] =
    "PREPARE pgseal_look AS SELECT l.pid, l.relation, l.mode FROM pg_catalog.pg_locks l"
    " WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()"
    " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    " AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')";

/* Seen once, it was there for an instant at least; seen again, for all the time between. */
static void note(RehearsalWatch *watch, Held one, int64_t now) {
  for (size_t i = 0; i < watch->held_count; i++) {
    Held *held = &watch->held[i];
    if (held->pid == one.pid && held->oid == one.oid && held->mode == one.mode) {
      held->last_us = now;
      return;
    }
  }
  one.first_us = one.last_us = now;
  ARRAY_PUSH(watch->held, watch->held_count, one);
}

/* Those that were not seen at `now` are over. */
static void settle(RehearsalWatch *watch, int64_t now) {
  for (size_t i = 0; i < watch->held_count;) {
    const Held held = watch->held[i];
    RehearsalRelation *relation = rehearsal_relations_find(watch->relations, held.oid);
    const int64_t held_us = held.last_us - held.first_us + WATCH_INTERVAL_US;
    if (relation && held_us > relation->held_us[held.mode])
      relation->held_us[held.mode] = held_us;
    if (held.last_us == now)
      i++;
    else
      watch->held[i] = watch->held[--watch->held_count];
  }
}

static bool look(RehearsalWatch *watch) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Error lost; /* the copy is gone, which is noticed elsewhere */
  if (postgres_query(watch->session, &result, &lost, "EXECUTE pgseal_look") != STATUS_OK)
    return false;
  int64_t now = clock_monotonic_us();
  for (int i = 0; i < PQntuples(result); i++) {
    Held one = {.pid = (int)strtol(PQgetvalue(result, i, 0), NULL, 10),
                .oid = (uint32_t)strtoul(PQgetvalue(result, i, 1), NULL, 10)};
    while (one.mode < REHEARSAL_MODES && strcmp(server_names[one.mode], PQgetvalue(result, i, 2)) != 0)
      one.mode++;
    if (one.mode < REHEARSAL_MODES && rehearsal_relations_find(watch->relations, one.oid))
      note(watch, one, now);
  }
  settle(watch, now);
  return true;
}

static bool sleep_or_stop(RehearsalWatch *watch) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += WATCH_INTERVAL_US * 1000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  pthread_mutex_lock(&watch->lock);
  while (!watch->stop && pthread_cond_timedwait(&watch->changed, &watch->lock, &until) == 0)
    continue;
  bool stop = watch->stop;
  pthread_mutex_unlock(&watch->lock);
  return stop;
}

static void *run(void *arg) {
  RehearsalWatch *watch = arg;
  while (look(watch) && !sleep_or_stop(watch))
    continue;
  return NULL;
}

static void watch_free(RehearsalWatch *watch) {
  postgres_close(&watch->session);
  pthread_cond_destroy(&watch->changed);
  pthread_mutex_destroy(&watch->lock);
  free(watch->held);
  free(watch);
}

Status rehearsal_watch_start(Rehearsal *rehearsal, RehearsalWatch **out, Error *err) {
  DrillRun *drill = &rehearsal->drill;
  RehearsalWatch *watch = memory_alloc(sizeof *watch);
  watch->relations = &rehearsal->relations;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&watch->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  pthread_mutex_init(&watch->lock, NULL);
  Status status = drill_connect(drill, drill->database_name, &watch->session, err);
  if (status == STATUS_OK)
    status = postgres_query(watch->session, NULL, err, "SET search_path = pg_catalog");
  if (status == STATUS_OK)
    status = postgres_query(watch->session, NULL, err, prepare_sql);
  if (status == STATUS_OK && pthread_create(&watch->thread, NULL, run, watch) != 0)
    status = error_set(err, ERR_NO_MEMORY, "cannot start a thread");
  if (status != STATUS_OK) {
    watch_free(watch);
    return status;
  }
  *out = watch;
  return STATUS_OK;
}

void rehearsal_watch_stop(RehearsalWatch **pointer) {
  RehearsalWatch *watch = *pointer;
  if (!watch)
    return;
  pthread_mutex_lock(&watch->lock);
  watch->stop = true;
  pthread_cond_signal(&watch->changed);
  pthread_mutex_unlock(&watch->lock);
  pthread_join(watch->thread, NULL);
  watch_free(watch);
  *pointer = NULL;
}
