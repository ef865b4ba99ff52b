/*
 * The ledger alone: the transactions of checkpoints' lives, as dispatch makes them, one after the other.
 *   ledger WHERE CHECKPOINTS WRITERS     as many processes as writers, each with its own connection; a file takes one
 *   ledger fsync FILE COUNT              what the disk can do at all: a block appended and made durable, COUNT times
 * Prints how many seconds it took, and (not for fsync) transactions, and the 50th and 99th percentile of a commit in
 * milliseconds.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "coordinator/ledger/ledger.h"

enum { TRANSACTIONS = 6 }; /* of one checkpoint: asked for, leased twice, stored, proven, progress in between */

typedef struct Bench {
  Ledger *ledger;
  float *took_ms;
  size_t count;
} Bench;

static void check(Status status, const Error *err) {
  if (status == STATUS_OK)
    return;
  fprintf(stderr, "%s: %s\n", error_code(status), err->message);
  exit(1);
}

static void event(Bench *bench, const char *kind, const Checkpoint *c, const LedgerJob *job) {
  Error err;
  LedgerEvent e = {
      .kind = (char *)kind, .checkpoint_id = c->id, .database = c->database, .job_id = job ? job->id : NULL};
  e.detail = json_pack("{s:s, s:i}", "tag", c->tag, "attempt", 1);
  check(ledger_event_append(bench->ledger, &e, &err), &err);
  json_decref(e.detail);
}

static void lease(Bench *bench, Checkpoint *c, LedgerJob *job, CheckpointState state) {
  Error err;
  check(ledger_fencing_next(bench->ledger, &job->fencing, &err), &err);
  job->state = JOB_LEASED;
  job->agent = (char *)"agent-1";
  c->state = state;
  check(ledger_job_update(bench->ledger, job, &err), &err);
  check(ledger_checkpoint_update(bench->ledger, c, &err), &err);
  event(bench, "job.leased", c, job);
}

static void end(Bench *bench, Checkpoint *c, LedgerJob *job, CheckpointState state, const char *kind) {
  Error err;
  job->state = JOB_DONE;
  c->state = state;
  check(ledger_job_update(bench->ledger, job, &err), &err);
  check(ledger_checkpoint_update(bench->ledger, c, &err), &err);
  event(bench, "job.finished", c, job);
  event(bench, kind, c, job);
}

static void make(Bench *bench, Checkpoint *c, LedgerJob *dump, LedgerJob *drill) {
  Error err;
  check(ledger_checkpoint_insert(bench->ledger, c, &err), &err);
  check(ledger_job_insert(bench->ledger, dump, &err), &err);
  check(ledger_job_insert(bench->ledger, drill, &err), &err);
  event(bench, "checkpoint.requested", c, NULL);
}

static void life(Bench *bench) {
  Error err;
  Id ids[] = {id_new(), id_new(), id_new()};
  char hash[65];
  memset(hash, 'a', 64);
  hash[64] = 0;
  Checkpoint c = {.id = ids[0].text,
                  .database = (char *)"prod-api",
                  .tag = (char *)"hourly",
                  .requested_by = (char *)"ci",
                  .created_us = clock_wall_us(),
                  .dump_attempt = 1,
                  .detail = json_pack("{s:s}", "prefix", "prod-api/")};
  LedgerJob dump = {.id = ids[1].text,
                    .checkpoint_id = c.id,
                    .database = c.database,
                    .kind = LEDGER_JOB_DUMP,
                    .attempt = 1,
                    .created_us = c.created_us},
            drill = dump;
  drill.id = ids[2].text;
  drill.kind = LEDGER_JOB_DRILL;
  for (int step = 0; step < TRANSACTIONS; step++) {
    int64_t began = clock_monotonic_us();
    check(ledger_begin(bench->ledger, &err), &err);
    if (step == 0)
      make(bench, &c, &dump, &drill);
    else if (step == 1)
      lease(bench, &c, &dump, CHECKPOINT_DUMPING);
    else if (step == 2)
      lease(bench, &c, &drill, CHECKPOINT_DUMPING);
    else if (step == 3)
      check(ledger_job_update(bench->ledger, &dump, &err), &err); /* progress */
    else if (step == 4)
      c.manifest_sha256 = hash, end(bench, &c, &dump, CHECKPOINT_DRILLING, "checkpoint.stored");
    else
      c.proof_sha256 = hash, end(bench, &c, &drill, CHECKPOINT_SEALED, "checkpoint.sealed");
    check(ledger_commit(bench->ledger, &err), &err);
    bench->took_ms[bench->count++] = (float)(clock_monotonic_us() - began) / 1000;
  }
  json_decref(c.detail);
}

static void write_lives(const char *where, int lives, float *took_ms) {
  Error err;
  Bench bench = {.took_ms = took_ms};
  check(ledger_open(where, false, &bench.ledger, &err), &err);
  for (int i = 0; i < lives; i++)
    life(&bench);
  ledger_close(bench.ledger);
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void sync_blocks(const char *path, int count) {
  char block[4096] = "pgseal";
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  for (int i = 0; i < count; i++) {
    if (fd < 0 || write(fd, block, sizeof block) != (ssize_t)sizeof block || fdatasync(fd) != 0) {
      perror(path);
      exit(1);
    }
  }
  close(fd);
}

int main(int argc, char **argv) {
  int64_t began = clock_monotonic_us();
  if (argc == 4 && strcmp(argv[1], "fsync") == 0) {
    sync_blocks(argv[2], (int)strtol(argv[3], NULL, 10));
    printf("%.3f\n", (double)(clock_monotonic_us() - began) / 1e6);
    return 0;
  }
  if (argc != 4)
    return 2;
  int lives = (int)strtol(argv[2], NULL, 10), writers = (int)strtol(argv[3], NULL, 10), failed = 0;
  size_t each = (size_t)(lives / writers) * TRANSACTIONS, all = each * (size_t)writers;
  float *took_ms = mmap(NULL, all * sizeof *took_ms, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (took_ms == MAP_FAILED)
    return 1;
  Ledger *ledger = NULL;
  Error err;
  check(ledger_open(argv[1], false, &ledger, &err), &err); /* the schema is there when they begin */
  ledger_close(ledger);
  began = clock_monotonic_us();
  for (int i = 0; i < writers; i++) {
    if (fork() == 0) {
      write_lives(argv[1], lives / writers, took_ms + (size_t)i * each);
      _exit(0);
    }
  }
  for (int status; wait(&status) > 0;)
    failed |= status;
  double seconds = (double)(clock_monotonic_us() - began) / 1e6;
  qsort(took_ms, all, sizeof *took_ms, by_value);
  printf("%.3f %zu %.2f %.2f\n", seconds, all, (double)took_ms[all / 2], (double)took_ms[all * 99 / 100]);
  return failed != 0;
}
