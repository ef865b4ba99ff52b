#include "coordinator/report/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { TEXT_LIMIT = 300 };
static const char *const drill_outcomes[GATHER_OUTCOMES] = {"proven", "failed", "errored", "canceled", "open"};
static const char *const checkpoint_outcomes[GATHER_OUTCOMES] = {"sealed", "failed", "errored", "canceled", "open"};

void gather_ask_release(GatherAsk *ask) {
  for (size_t i = 0; i < ask->database_count; i++) {
    free(ask->databases[i].name);
    free(ask->databases[i].environment);
    free(ask->databases[i].owner);
  }
  for (size_t i = 0; i < ask->name_count; i++)
    free(ask->names[i]);
  free(ask->names);
  free(ask->databases);
  free(ask->database);
  free(ask->owner);
  free(ask->environment);
  free(ask->scope);
  json_decref(ask->keys);
  *ask = (GatherAsk){0};
}

static void gather_release(Gather *gather) {
  for (size_t i = 0; i < gather->count; i++) {
    if (!gather->tallies[i]->declared)
      free(gather->tallies[i]->database.name);
    free(gather->tallies[i]->took_ms);
    sha256_free(gather->tallies[i]->proven);
    free(gather->tallies[i]);
  }
  free(gather->tallies);
  json_decref(gather->drills);
  json_decref(gather->checkpoints);
  json_decref(gather->recoveries);
  json_decref(gather->trials);
  json_decref(gather->silences);
}

/* ---- databases ---- */

static Tally *tally_new(const GatherDatabase *database, bool declared) {
  Tally *tally = memory_alloc(sizeof *tally);
  *tally = (Tally){.database = *database, .declared = declared, .proven = sha256_new()};
  return tally;
}

/* Where it is, or would be. */
static size_t place_of(const Gather *gather, const char *database, bool *found) {
  size_t low = 0;
  *found = false;
  for (size_t high = gather->count; low < high && !*found;) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(gather->tallies[middle]->database.name, database);
    *found = order == 0;
    if (order <= 0)
      low = middle + (order != 0);
    else
      high = middle;
  }
  return low;
}

bool gather_has(const Gather *gather, const char *database) {
  bool found;
  (void)place_of(gather, database, &found);
  return found;
}

static bool is_named(const GatherAsk *ask, const char *database) {
  for (size_t i = 0; i < ask->name_count; i++)
    if (strcmp(ask->names[i], database) == 0)
      return true;
  return false;
}

Tally *tally_of(Gather *gather, const char *database) {
  bool found;
  size_t low = place_of(gather, database, &found);
  if (found)
    return gather->tallies[low];
  if (gather->ask->owner || gather->ask->environment) /* whose it was, nobody knows any more */
    return NULL;
  if (gather->ask->name_count > 0 && !is_named(gather->ask, database))
    return NULL;
  Tally *gone = tally_new(&(GatherDatabase){.name = memory_strdup(database)}, false);
  ARRAY_PUSH(gather->tallies, gather->count, gone);
  memmove(gather->tallies + low + 1, gather->tallies + low, (gather->count - 1 - low) * sizeof *gather->tallies);
  return gather->tallies[low] = gone;
}

/* ---- rows ---- */

json_t *gather_text(const char *text) {
  char clean[TEXT_LIMIT];
  return json_string(text_clip(text ? text : "", clean, sizeof clean));
}

void gather_put(json_t *row, const char *key, const char *text) {
  if (text && *text)
    json_object_set_new(row, key, gather_text(text));
}

char *gather_drill_id(const char *job_id, int attempt) {
  return attempt > 1 ? memory_format("%s-%d", job_id, attempt) : memory_strdup(job_id);
}

void gather_put_event(json_t *row, const char *key, const ReportEvent *event) {
  if (event->sequence > 0 && event->hash)
    json_object_set_new(row, key,
                        json_pack("{s:I, s:s}", "sequence", (json_int_t)event->sequence, "hash", event->hash));
}

Status gather_step(const Gather *gather, Error *err) {
  return atomic_load(gather->stop) ? error_set(err, ERR_CANCELED, "the coordinator is stopping") : STATUS_OK;
}

Status gather_put_next(Gather *gather, json_t *row, const char *database, int64_t after_us, Error *err) {
  ReportNext next;
  Status status = ledger_report_next(gather->ledger, database, after_us, gather->made_us, &next, err);
  if (status || !next.job_id[0])
    return status;
  CLEANUP_FREE char *drill = gather_drill_id(next.job_id, next.attempt);
  json_object_set_new(row, "next_proven",
                      json_pack("{s:s, s:s, s:I}", "drill", drill, "checkpoint", next.checkpoint_id, "finished_us",
                                (json_int_t)next.finished_us));
  return STATUS_OK;
}

Status gather_append(json_t *list, json_t *row, size_t limit, Error *err) {
  if (json_array_size(list) >= limit) {
    json_decref(row);
    error_set(err, ERR_TOO_MANY, "the report would list more than %zu rows of one kind", limit);
    error_remedy(err, "Ask for a shorter period, or for one database or owner at a time.");
    return err->status;
  }
  json_array_append_new(list, row);
  return STATUS_OK;
}

/* ---- drills ---- */

/* What ended after the report was begun had not ended yet. */
static int drill_outcome(const Gather *gather, const ReportJob *job) {
  if (!job_state_final(job->state) || job->finished_us > gather->made_us)
    return 4;
  return job->state == JOB_DONE ? 0 : job->state == JOB_FAILED ? 1 : job->state == JOB_ERRORED ? 2 : 3;
}

/* What the agent signed. */
static const json_t *verdict_of(const ReportJob *job) {
  return json_object_get(job->end.detail, "verdict");
}

static void put_verdict(json_t *row, const ReportJob *job) {
  const json_t *verdict = verdict_of(job);
  gather_put(row, "manifest_sha256", job->manifest_sha256);
  gather_put(row, "proof_sha256", json_string_value(json_object_get(verdict, "proof_sha256")));
  gather_put(row, "verdict_key", json_string_value(json_object_get(verdict, "public_key")));
  gather_put(row, "verdict_signature", json_string_value(json_object_get(verdict, "signature")));
}

static void count_proven(Tally *tally, const ReportJob *job, const char *drill) {
  const json_t *took = json_object_get(job->end.detail, "milliseconds");
  CLEANUP_FREE char *line = report_proof_line(drill, job->checkpoint_id, job->manifest_sha256,
                                              json_string_value(json_object_get(verdict_of(job), "proof_sha256")));
  sha256_update(tally->proven, line, strlen(line));
  if (!json_is_integer(took))
    return;
  int64_t ms = json_integer_value(took);
  ARRAY_PUSH(tally->took_ms, tally->took_count, ms);
  tally->over += tally->database.restore_seconds > 0 && ms > tally->database.restore_seconds * 1000;
}

static json_t *drill_row(const ReportJob *job, const char *drill, int outcome) {
  const json_t *took = json_object_get(job->end.detail, "milliseconds");
  json_t *row = json_pack("{s:s, s:s, s:o, s:o, s:s, s:I}", "drill", drill, "checkpoint", job->checkpoint_id,
                          "database", gather_text(job->database), "tag", gather_text(job->tag), "outcome",
                          drill_outcomes[outcome], "asked_us", (json_int_t)job->created_us);
  const char *kind = json_string_value(json_object_get(job->request, "kind"));
  gather_put(row, "agent", job->agent);
  gather_put(row, "asked_by", job->requested_by);
  gather_put(row, "kind", kind);
  if (outcome < 4)
    json_object_set_new(row, "finished_us", json_integer(job->finished_us));
  gather_put_event(row, "event", &job->end);
  if (outcome == 0) {
    put_verdict(row, job);
    if (json_is_integer(took))
      json_object_set_new(row, "milliseconds", json_integer(json_integer_value(took)));
  } else if (outcome < 4) {
    gather_put(row, "error", job->error_code);
    gather_put(row, "message", job->error_message);
  }
  return row;
}

static Status take_drill(void *user, const ReportJob *job, Error *err) {
  Gather *gather = user;
  Tally *tally = tally_of(gather, job->database);
  Status status = gather_step(gather, err);
  if (status || !tally)
    return status;
  CLEANUP_FREE char *drill = gather_drill_id(job->id, job->attempt);
  int outcome = drill_outcome(gather, job);
  tally->drills[outcome]++;
  if (outcome == 0)
    count_proven(tally, job, drill);
  if (outcome == 0 && !gather->all_drills)
    return STATUS_OK;
  json_t *row = drill_row(job, drill, outcome);
  if (outcome == 1 || outcome == 2)
    status = gather_put_next(gather, row, job->database, job->finished_us, err);
  if (status) {
    json_decref(row);
    return status;
  }
  return gather_append(gather->drills, row, gather->ask->drills_limit, err);
}

/* ---- checkpoints that were not sealed ---- */

static int checkpoint_outcome(const Gather *gather, const ReportCheckpoint *checkpoint) {
  if (!checkpoint_state_final(checkpoint->state) || checkpoint->finished_us > gather->made_us)
    return 4;
  return checkpoint->state == CHECKPOINT_SEALED    ? 0
         : checkpoint->state == CHECKPOINT_FAILED  ? 1
         : checkpoint->state == CHECKPOINT_ERRORED ? 2
                                                   : 3;
}

static Status take_checkpoint(void *user, const ReportCheckpoint *checkpoint, Error *err) {
  Gather *gather = user;
  Tally *tally = tally_of(gather, checkpoint->database);
  Status status = gather_step(gather, err);
  if (status || !tally)
    return status;
  int outcome = checkpoint_outcome(gather, checkpoint);
  tally->checkpoints[outcome]++;
  if (outcome == 0)
    return STATUS_OK;
  json_t *row = json_pack("{s:s, s:o, s:o, s:s, s:I}", "checkpoint", checkpoint->id, "database",
                          gather_text(checkpoint->database), "tag", gather_text(checkpoint->tag), "outcome",
                          checkpoint_outcomes[outcome], "asked_us", (json_int_t)checkpoint->created_us);
  gather_put(row, "asked_by", checkpoint->requested_by);
  gather_put(row, "restore_drill", checkpoint->restore_drill);
  if (outcome < 4) {
    json_object_set_new(row, "finished_us", json_integer(checkpoint->finished_us));
    gather_put(row, "error", checkpoint->error_code);
    gather_put(row, "message", checkpoint->error_message);
  }
  if (outcome == 1 || outcome == 2)
    status = gather_put_next(gather, row, checkpoint->database, checkpoint->finished_us, err);
  if (status) {
    json_decref(row);
    return status;
  }
  return gather_append(gather->checkpoints, row, gather->ask->drills_limit, err);
}

/* ---- all of it ---- */

static Status begin(Gather *gather, Error *err) {
  int64_t drills = 0, recoveries = 0;
  const GatherAsk *ask = gather->ask;
  for (size_t i = 0; i < ask->database_count; i++) {
    Tally *tally = tally_new(&ask->databases[i], true);
    ARRAY_PUSH(gather->tallies, gather->count, tally);
  }
  Status status = ledger_report_count(gather->ledger, &gather->filter, true, &drills, err);
  if (!status)
    status = ledger_report_count(gather->ledger, &gather->filter, false, &recoveries, err);
  gather->all_drills = drills <= (int64_t)ask->drills_limit;
  gather->all_recoveries = recoveries <= (int64_t)ask->recoveries_limit;
  return status;
}

/* The chain when the report was made, and as it was when the period ended. */
static Status put_chain(const Gather *gather, json_t *report, Error *err) {
  int64_t sequence, time_us, events = 0;
  char hash[65], tip[65];
  Status status = ledger_report_head(gather->ledger, INT64_MAX, &sequence, &time_us, hash, err);
  if (status)
    return status;
  bool verified = sequence <= GATHER_VERIFY_LIMIT;
  if (verified)
    status = ledger_chain_verify(gather->ledger, &events, tip, err);
  if (status)
    return status;
  json_t *chain = json_pack("{s:b, s:I, s:s}", "verified", verified, "sequence", (json_int_t)sequence, "hash", hash);
  json_object_set_new(report, "chain", chain);
  status = ledger_report_head(gather->ledger, gather->ask->to_us, &sequence, &time_us, hash, err);
  if (!status && sequence > 0)
    json_object_set_new(
        report, "head",
        json_pack("{s:I, s:I, s:s}", "sequence", (json_int_t)sequence, "time_us", (json_int_t)time_us, "hash", hash));
  return status;
}

static json_t *subject_of(const GatherAsk *ask) {
  json_t *of = json_pack("{s:s}", "kind",
                         ask->database         ? "database"
                         : ask->owner          ? "owner"
                         : ask->environment    ? "environment"
                         : ask->name_count > 0 ? "databases"
                                               : "fleet");
  gather_put(of, "name", ask->database ? ask->database : ask->owner ? ask->owner : ask->environment);
  json_t *names = ask->name_count > 0 ? json_array() : NULL;
  for (size_t i = 0; i < ask->name_count; i++)
    json_array_append_new(names, gather_text(ask->names[i]));
  if (names)
    json_object_set_new(of, "names", names);
  json_object_set_new(of, "whole", json_boolean(!ask->scope)); /* else it is what one token may see of it */
  return of;
}

static Status assemble(const Gather *gather, json_t *databases, json_t **out, Error *err) {
  const GatherAsk *ask = gather->ask;
  json_t *report = json_pack(
      "{s:i, s:s, s:o, s:I, s:I, s:I, s:I, s:{s:s, s:s}, s:O, s:O, s:O, s:O, s:O, s:O, s:o}", "version", REPORT_VERSION,
      "pgseal_version", PGSEAL_VERSION, "of", subject_of(ask), "from_us", (json_int_t)ask->from_us, "to_us",
      (json_int_t)ask->to_us, "end_us", (json_int_t)gather->end_us, "made_us", (json_int_t)gather->made_us, "listed",
      "drills", gather->all_drills ? "all" : "not_proven", "recoveries", gather->all_recoveries ? "all" : "restores",
      "databases", databases, "drills", gather->drills, "checkpoints", gather->checkpoints, "recoveries",
      gather->recoveries, "trials", gather->trials, "silences", gather->silences, "keys",
      ask->keys ? json_deep_copy(ask->keys) : json_array());
  Status status = report ? STATUS_OK : error_set(err, ERR_INTERNAL, "the report cannot be written");
  if (!status && !ask->scope) /* agents' names tell of what others have */
    status = ledger_report_keys(gather->ledger, json_object_get(report, "keys"), err);
  if (!status)
    status = put_chain(gather, report, err);
  if (!status) {
    json_object_set_new(report, "totals", report_totals(report));
    status = report_check(report, err); /* what others will check */
  }
  if (status)
    json_decref(report);
  else
    *out = report;
  return status;
}

static bool is_empty(const Gather *gather) {
  return (gather->ask->database || gather->ask->name_count > 0) && gather->count == 0;
}

Status gather(Ledger *ledger, const GatherAsk *ask, const atomic_bool *stop, json_t **report, Error *err) {
  int64_t now_us = clock_wall_us();
  CLEANUP(gather_release)
  Gather all = {.ledger = ledger,
                .ask = ask,
                .stop = stop,
                .filter = {ask->from_us, ask->to_us, ask->database, ask->scope},
                .made_us = now_us,
                .end_us = ask->to_us < now_us ? ask->to_us : now_us,
                .drills = json_array(),
                .checkpoints = json_array(),
                .recoveries = json_array(),
                .trials = json_array(),
                .silences = json_array()};
  json_t *databases = NULL;
  Status status = begin(&all, err);
  if (!status)
    status = ledger_report_drills(ledger, &all.filter, take_drill, &all, err);
  if (!status)
    status = ledger_report_checkpoints(ledger, &all.filter, take_checkpoint, &all, err);
  if (!status)
    status = gather_recoveries(&all, err);
  if (!status)
    status = gather_silences(&all, err);
  if (!status && is_empty(&all))
    status = error_set(err, ERR_NOT_FOUND, "there is no database of this name, nor was there in this period");
  if (!status)
    status = gather_databases(&all, &databases, err);
  if (!status)
    status = assemble(&all, databases, report, err);
  json_decref(databases);
  return status;
}
