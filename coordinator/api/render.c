#include <math.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/api/internal.h"

json_t *render_text(const char *text) {
  json_t *json = text ? json_string(text) : json_null();
  if (json)
    return json;
  size_t size = strlen(text) + 1;
  CLEANUP_FREE char *clean = memory_alloc(size);
  return json_string(text_clean(text, clean, size));
}

json_t *render_time(int64_t wall_us) {
  char text[CLOCK_TEXT_SIZE];
  return wall_us ? json_string(clock_format(wall_us, text)) : json_null();
}

json_t *render_error(const char *code, const char *message, const char *remedy, const char *object) {
  if (!code)
    return json_null();
  json_t *json = json_pack("{s:o, s:o, s:o}", "code", render_text(code), "message", render_text(message ? message : ""),
                           "remedy", render_text(remedy ? remedy : ""));
  if (object && *object)
    json_object_set_new(json, "object", render_text(object));
  return json;
}

json_t *render_job(const LedgerJob *job) {
  int64_t worked_us = job->started_us && job->finished_us > job->started_us ? job->finished_us - job->started_us : 0;
  return json_pack("{s:s, s:o, s:o, s:s, s:s, s:i, s:o, s:O?, s:o, s:o, s:o, s:o, s:f}", "id", job->id, "checkpoint",
                   render_text(job->checkpoint_id), "database", render_text(job->database), "kind",
                   ledger_job_kind_name(job->kind), "state", job_state_name(job->state), "attempt", job->attempt,
                   "agent", render_text(job->agent), "progress", job->state == JOB_DONE ? NULL : job->progress, "error",
                   render_error(job->error_code, job->error_message, job->error_remedy, job->error_object),
                   "created_at", render_time(job->created_us), "started_at", render_time(job->started_us),
                   "finished_at", render_time(job->finished_us), "seconds", round((double)worked_us / 1e5) / 10);
}

void render_wait(Api *api, const LedgerJob *job, json_t *json) {
  CLEANUP_FREE char *why = job->state == JOB_QUEUED ? dispatch_waits_why(api->dispatch, job->id) : NULL;
  json_object_set_new(json, "waits_for", render_text(why));
}

json_t *render_event(const LedgerEvent *event) {
  return json_pack("{s:I, s:o, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:O?, s:s}", "sequence", (json_int_t)event->sequence,
                   "time", render_time(event->time_us), "time_us", (json_int_t)event->time_us, "kind", event->kind,
                   "checkpoint_id", render_text(event->checkpoint_id), "job_id", render_text(event->job_id), "database",
                   render_text(event->database), "agent", render_text(event->agent), "actor", render_text(event->actor),
                   "detail", event->detail, "hash", event->hash);
}

static void add_jobs(Api *api, const char *checkpoint_id, json_t *json) {
  LedgerJob *jobs = NULL;
  size_t count = 0;
  Error ignored; /* a checkpoint without its jobs is still an answer */
  json_t *list = json_array();
  if (ledger_job_list(api->ledger, checkpoint_id, &jobs, &count, &ignored) == STATUS_OK) {
    for (size_t i = 0; i < count; i++) {
      if (ledger_job_recovers(jobs[i].kind))
        continue;
      json_t *job = render_job(&jobs[i]);
      render_wait(api, &jobs[i], job);
      json_array_append_new(list, job);
    }
    ledger_job_list_free(jobs, count);
  }
  json_object_set_new(json, "jobs", list);
}

json_t *render_checkpoint(Api *api, const Checkpoint *c, bool whole) {
  char size[TEXT_SIZE_SIZE];
  const ConfigDatabase *database = fleet_config(dispatch_fleet(api->dispatch), c->database);
  json_t *json = json_pack("{s:b, s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:o, s:f}", "ok",
                           c->state == CHECKPOINT_SEALED, "id", c->id, "database", render_text(c->database),
                           "environment", render_text(database ? database->environment : ""), "tag",
                           render_text(c->tag), "state", checkpoint_state_name(c->state), "created_at",
                           render_time(c->created_us), "finished_at", render_time(c->finished_us), "size",
                           text_size(c->size_bytes, size), "size_bytes", (json_int_t)c->size_bytes, "archive_bytes",
                           (json_int_t)c->archive_bytes, "tables", (json_int_t)c->tables, "rows", (json_int_t)c->rows,
                           "restore_drill", render_text(c->restore_drill), "seconds", round(c->seconds * 10) / 10);
  json_object_set_new(json, "error",
                      c->state == CHECKPOINT_SEALED
                          ? json_null()
                          : render_error(c->error_code, c->error_message, c->error_remedy, c->error_object));
  json_object_set_new(json, "drill_seconds", json_real(round(ledger_stage_seconds(c->detail, "drill") * 10) / 10));
  json_object_set_new(json, "requested_by", render_text(c->requested_by));
  json_object_set_new(json, "manifest_sha256", render_text(c->manifest_sha256));
  json_object_set_new(json, "proof_sha256", render_text(c->proof_sha256));
  json_object_set_new(json, "dump_agent", render_text(c->dump_agent));
  json_object_set_new(json, "pinned_at", render_time(c->pinned_us));
  json_object_set_new(json, "pruning_at", render_time(c->pruning_us));
  json_object_set_new(json, "pruned_at", render_time(c->pruned_us));
  json_object_set_new(json, "server_major", json_integer(c->server_major));
  static const char *const from_detail[] = {"prefix", "segments", "dump_public_key"};
  for (size_t i = 0; i < sizeof from_detail / sizeof *from_detail; i++) {
    json_t *value = json_object_get(c->detail, from_detail[i]);
    json_object_set(json, from_detail[i], value ? value : json_null());
  }
  if (whole) {
    json_object_set_new(json, "detail", c->detail ? json_incref(c->detail) : json_object());
    add_jobs(api, c->id, json);
  }
  return json;
}
