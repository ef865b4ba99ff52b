#include <errno.h>
#include <string.h>
#include <time.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

typedef struct Counter {
  DumpCounts *counts;
  size_t session;
  pthread_t thread;
} Counter;

struct DumpCounts {
  DumpRun *run;
  bool heap;
  Counter counters[DUMP_SESSIONS_MAX];
  size_t started;
  pthread_mutex_t lock;   /* guards what follows */
  pthread_cond_t changed; /* monotonic clock */
  size_t running;
  bool stopping;
};

static bool is_stopping(DumpCounts *counts) {
  pthread_mutex_lock(&counts->lock);
  bool stopping = counts->stopping;
  pthread_mutex_unlock(&counts->lock);
  return stopping;
}

/* Whoever waits for the threads to end does not wait for a count. */
static Status check_stopping(void *user, Error *err) {
  return is_stopping(user) ? error_set(err, ERR_CANCELED, "the counts are not wanted any more") : STATUS_OK;
}

static Status count(DumpCounts *counts, size_t session, const char *sql, int64_t *rows, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  const PostgresWatch watch = {check_stopping, counts};
  Status status = postgres_query_watched(counts->run->sessions[session], &result, err, sql, &watch);
  if (status == STATUS_OK)
    *rows = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  return status;
}

/* As pg_dump reads it: COPY of a table is of that table ONLY, COPY of an extension's filtered table is a SELECT with
 * the extension's own condition. */
static Status count_table(DumpCounts *counts, DumpTable *table, Error *err) {
  const DumpRun *run = counts->run;
  CLEANUP_FREE char *sql = memory_format("SELECT pg_catalog.count(*) FROM %s%s %s", *table->condition ? "" : "ONLY ",
                                         table->quoted, table->condition);
  Status status = count(counts, table->session, sql, &table->rows, err);
  if (status == STATUS_OK)
    return STATUS_OK;
  if (status == ERR_QUERY && run->source.in_recovery && strstr(err->message, "SQLSTATE 40001")) {
    status = err->status = ERR_DATABASE_LOST; /* transient: the next attempt may be luckier */
    error_remedy(err, "The standby's replay ended the count: raise max_standby_streaming_delay there, set "
                      "hot_standby_feedback, or dump from the primary.");
  }
  char name[DUMP_TABLE_TEXT_SIZE];
  error_object(err, "%s", text_show(table->quoted, name, sizeof name));
  return error_prefix(err, "counting the rows of %s", name);
}

static const char heap_sql[] =
    "SET enable_indexonlyscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off;"
    "SET enable_seqscan = on";

static Status count_share(Counter *counter, Error *err) {
  DumpRun *run = counter->counts->run;
  Status status = STATUS_OK;
  if (counter->counts->heap)
    status = postgres_query(run->sessions[counter->session], NULL, err, heap_sql);
  if (status != STATUS_OK)
    return status;
  if (counter->session == 0 && run->large_objects < 0) {
    status = count(counter->counts, 0, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata",
                   &run->large_objects, err);
    if (status != STATUS_OK)
      return error_prefix(err, "counting the large objects");
  }
  for (size_t i = 0; i < run->tables.count && !is_stopping(counter->counts); i++) {
    DumpTable *table = &run->tables.items[i];
    if (table->session != counter->session || !table->data || table->rows >= 0)
      continue;
    status = count_table(counter->counts, table, err);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

static void *work(void *argument) {
  Counter *counter = argument;
  DumpCounts *counts = counter->counts;
  Error err;
  if (count_share(counter, &err) != STATUS_OK && !is_stopping(counts))
    dump_run_fail(counts->run, &err);
  pthread_mutex_lock(&counts->lock);
  counts->running--;
  pthread_cond_broadcast(&counts->changed);
  pthread_mutex_unlock(&counts->lock);
  return NULL;
}

static void init_sync(DumpCounts *counts) {
  pthread_mutex_init(&counts->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&counts->changed, &attributes);
  pthread_condattr_destroy(&attributes);
}

Status dump_counts_start(DumpRun *run, bool heap, DumpCounts **out, Error *err) {
  CLEANUP(dump_counts_stop) DumpCounts *counts = memory_alloc(sizeof *counts);
  counts->run = run;
  counts->heap = heap;
  init_sync(counts);
  for (size_t i = 0; i < run->session_count; i++) {
    Counter *counter = &counts->counters[i];
    counter->counts = counts;
    counter->session = i;
    pthread_mutex_lock(&counts->lock);
    counts->running++;
    pthread_mutex_unlock(&counts->lock);
    int failed = pthread_create(&counter->thread, NULL, work, counter);
    if (failed) {
      pthread_mutex_lock(&counts->lock);
      counts->running--;
      pthread_mutex_unlock(&counts->lock);
      return error_set(err, ERR_NO_MEMORY, "a thread for counting rows could not be started: %s", strerror(failed));
    }
    counts->started++;
  }
  *out = STEAL(counts);
  return STATUS_OK;
}

/* Under the lock: true once every thread is done, false after a tick without that. */
static bool wait_a_tick(DumpCounts *counts) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += DUMP_TICK_MS * 1000000L;
  until.tv_sec += until.tv_nsec / 1000000000L;
  until.tv_nsec %= 1000000000L;
  int waited = 0;
  while (counts->running > 0 && waited != ETIMEDOUT)
    waited = pthread_cond_timedwait(&counts->changed, &counts->lock, &until);
  return counts->running == 0;
}

Status dump_counts_wait(DumpCounts *counts, Error *err) {
  for (bool done = false; !done;) {
    pthread_mutex_lock(&counts->lock);
    done = wait_a_tick(counts);
    pthread_mutex_unlock(&counts->lock);
    Status status = dump_run_check(counts->run, err);
    if (status != STATUS_OK)
      return status;
    dump_run_report(counts->run, false);
  }
  return STATUS_OK;
}

void dump_counts_stop(DumpCounts **counts_pointer) {
  DumpCounts *counts = STEAL(*counts_pointer);
  if (!counts)
    return;
  pthread_mutex_lock(&counts->lock);
  counts->stopping = true;
  pthread_mutex_unlock(&counts->lock);
  for (size_t i = 0; i < counts->started; i++)
    pthread_join(counts->counters[i].thread, NULL);
  pthread_cond_destroy(&counts->changed);
  pthread_mutex_destroy(&counts->lock);
  free(counts);
}

static const FingerprintTable *find_dumped(const Fingerprint *fingerprint, const DumpTable *table) {
  for (size_t i = 0; i < fingerprint->table_count; i++) {
    const FingerprintTable *dumped = &fingerprint->tables[i];
    if (strcmp(dumped->name, table->name) == 0 && strcmp(dumped->schema, table->schema) == 0)
      return dumped;
  }
  return NULL;
}

/* counted: what an index said, by table. */
static void warn_of_indexes(DumpRun *run, const int64_t *counted) {
  for (size_t i = 0; i < run->tables.count; i++) {
    const DumpTable *table = &run->tables.items[i];
    if (table->rows == counted[i])
      continue;
    CLEANUP_FREE char *detail = memory_format(
        "the dump holds all %lld rows of the table, but one of its indexes has %lld: it is corrupt, REINDEX the table",
        (long long)table->rows, (long long)counted[i]);
    dump_run_omit(run, "warning", table->quoted, detail);
  }
}

Status dump_counts_check(DumpRun *run, const Fingerprint *fingerprint, Error *err) {
  Error difference;
  if (dump_counts_compare(&run->tables, run->large_objects, fingerprint, &difference) == STATUS_OK)
    return STATUS_OK;
  CLEANUP_FREE int64_t *counted = memory_alloc((run->tables.count + 1) * sizeof *counted);
  for (size_t i = 0; i < run->tables.count; i++) {
    DumpTable *table = &run->tables.items[i];
    counted[i] = table->rows;
    const FingerprintTable *dumped = table->data ? find_dumped(fingerprint, table) : NULL;
    if (dumped && dumped->rows != table->rows)
      table->rows = -1;
  }
  CLEANUP(dump_counts_stop) DumpCounts *counts = NULL;
  Status status = dump_counts_start(run, true, &counts, err);
  if (status == STATUS_OK)
    status = dump_counts_wait(counts, err);
  if (status == STATUS_OK)
    status = dump_counts_compare(&run->tables, run->large_objects, fingerprint, err);
  if (status == STATUS_OK)
    warn_of_indexes(run, counted);
  return status;
}
