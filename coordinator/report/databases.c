/* One row for each database: its numbers, and where it stands at the end of the period. */
#include "coordinator/report/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { OMISSIONS_SHOWN = 20 };

static json_t *counts_of(const char *first, const int64_t counts[GATHER_OUTCOMES]) {
  return json_pack("{s:I, s:I, s:I, s:I, s:I}", first, (json_int_t)counts[0], "failed", (json_int_t)counts[1],
                   "errored", (json_int_t)counts[2], "canceled", (json_int_t)counts[3], "open", (json_int_t)counts[4]);
}

static int by_time(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static json_t *restore_of(Tally *tally) {
  if (tally->took_count > 0)
    qsort(tally->took_ms, tally->took_count, sizeof *tally->took_ms, by_time);
  json_t *restore = json_pack("{s:I, s:I, s:I}", "measured", (json_int_t)tally->took_count, "slowest_ms",
                              (json_int_t)(tally->took_count ? tally->took_ms[tally->took_count - 1] : 0),
                              "over_objective", (json_int_t)tally->over);
  if (tally->took_count > 0)
    json_object_set_new(restore, "median_ms", json_integer(tally->took_ms[(tally->took_count - 1) / 2]));
  return restore;
}

static json_t *omissions_of(const json_t *omissions) {
  json_t *list = json_array(), *item;
  size_t index;
  json_array_foreach((json_t *)omissions, index, item) {
    if (index < OMISSIONS_SHOWN)
      json_array_append_new(list, json_pack("{s:o, s:o}", "kind",
                                            gather_text(json_string_value(json_object_get(item, "kind"))), "object",
                                            gather_text(json_string_value(json_object_get(item, "object")))));
  }
  return list;
}

static json_t *proof_row(const ReportProof *proof) {
  CLEANUP_FREE char *drill = gather_drill_id(proof->job_id, proof->attempt);
  json_t *row = json_pack("{s:s, s:s, s:o, s:I}", "drill", drill, "checkpoint", proof->checkpoint_id, "tag",
                          gather_text(proof->tag), "finished_us", (json_int_t)proof->finished_us);
  gather_put(row, "manifest_sha256", proof->manifest_sha256);
  gather_put(row, "proof_sha256", proof->proof_sha256);
  if (proof->sequence > 0)
    json_object_set_new(row, "event",
                        json_pack("{s:I, s:s}", "sequence", (json_int_t)proof->sequence, "hash", proof->hash));
  return row;
}

static Status put_standing(const Gather *gather, const Tally *tally, json_t *row, Error *err) {
  CLEANUP(report_proof_release) ReportProof proof = {0};
  bool found = false;
  Status status = ledger_report_proof(gather->ledger, tally->database.name, gather->end_us, &proof, &found, err);
  if (status)
    return status;
  int64_t age_us = found ? gather->end_us - proof.finished_us : -1;
  ReportCoverage coverage = report_coverage(age_us, tally->database.proof_age_seconds);
  json_object_set_new(row, "coverage", json_string(report_coverage_name(coverage)));
  json_object_set_new(row, "omissions", omissions_of(proof.omissions));
  json_object_set_new(row, "omissions_count", json_integer((json_int_t)json_array_size(proof.omissions)));
  if (!found)
    return STATUS_OK;
  json_object_set_new(row, "proof_age_us", json_integer(age_us));
  json_object_set_new(row, "last_proof", proof_row(&proof));
  return STATUS_OK;
}

static Status add(const Gather *gather, Tally *tally, json_t *rows, Error *err) {
  uint8_t digest[SHA256_SIZE];
  char hex[SHA256_HEX_SIZE];
  const GatherDatabase *database = &tally->database;
  sha256_finish(tally->proven, digest);
  text_hex(digest, sizeof digest, hex);
  json_t *row =
      json_pack("{s:o, s:o, s:o, s:b, s:{s:I, s:I, s:I}, s:o, s:o, s:o, s:s}", "name", gather_text(database->name),
                "environment", gather_text(database->environment), "owner", gather_text(database->owner), "declared",
                tally->declared, "objectives", "proof_age_seconds", (json_int_t)database->proof_age_seconds,
                "restore_seconds", (json_int_t)database->restore_seconds, "data_loss_seconds",
                (json_int_t)database->data_loss_seconds, "drills", counts_of("proven", tally->drills), "checkpoints",
                counts_of("sealed", tally->checkpoints), "restore", restore_of(tally), "proven_sha256", hex);
  json_array_append_new(rows, row);
  return put_standing(gather, tally, row, err);
}

Status gather_databases(Gather *gather, json_t **rows, Error *err) {
  json_t *list = json_array();
  Status status = STATUS_OK;
  for (size_t i = 0; !status && i < gather->count; i++) {
    status = gather_step(gather, err);
    if (!status)
      status = add(gather, gather->tallies[i], list, err);
  }
  if (status)
    json_decref(list);
  else
    *rows = list;
  return status;
}
