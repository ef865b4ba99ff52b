#include "agent/rehearsal/rehearsal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

static void rehearsal_release(Rehearsal *rehearsal) {
  plan_release(&rehearsal->plan); /* its sessions first, then what they are to */
  drill_run_release(&rehearsal->drill);
  rehearsal_relations_release(&rehearsal->relations);
  rehearsal_statements_release(&rehearsal->statements);
  rehearsal_request_release(&rehearsal->request);
  json_decref(rehearsal->findings);
}

/* The checkpoint as a drill is told of it; all of it is the job's. */
static void make_spec(Rehearsal *rehearsal) {
  const Pgseal__RecoverySpec *from = rehearsal->context->job->recovery;
  pgseal__drill_spec__init(&rehearsal->spec);
  rehearsal->spec.drill_id = rehearsal->context->job->id;
  rehearsal->spec.dump_public_key = from->dump_public_key;
  rehearsal->spec.dump_agent = from->dump_agent;
  rehearsal->spec.manifest_sha256 = from->manifest_sha256;
  rehearsal->spec.server_major = from->server_major;
  rehearsal->spec.image = from->image;
  rehearsal->spec.n_assertions = from->n_assertions;
  rehearsal->spec.assertions = from->assertions;
}

static Status make_copy(Rehearsal *rehearsal, Error *err) {
  make_spec(rehearsal);
  Status status = drill_run_open(&rehearsal->drill, rehearsal->context, &rehearsal->spec, err);
  if (status == STATUS_OK && !rehearsal->drill.stored)
    status = error_set(err, ERR_PROTOCOL, "the coordinator sent a rehearsal of a checkpoint that is not stored");
  return status == STATUS_OK ? drill_walk(&rehearsal->drill, err) : status;
}

static void phase(Rehearsal *rehearsal, const char *name) {
  rehearsal->drill.progress.phase = (char *)name; /* protobuf-c has no const strings; nobody writes to it */
  *rehearsal->drill.progress_table = '\0';
  drill_report(&rehearsal->drill, true);
}

static Status migrate(Rehearsal *rehearsal, Error *err) {
  CLEANUP(rehearsal_watch_stop) RehearsalWatch *watch = NULL;
  Status status = rehearsal_copy_prepare(rehearsal, err);
  if (status == STATUS_OK)
    status = rehearsal_relations_before(rehearsal, err);
  if (status == STATUS_OK)
    status = rehearsal_watch_start(rehearsal, &watch, err);
  if (status != STATUS_OK)
    return status;
  int64_t started = clock_monotonic_us();
  rehearsal->deadline_us = started + (int64_t)rehearsal->request.keep_seconds * 1000000;
  status = rehearsal->request.tunnel ? rehearsal_tunnel_run(rehearsal, err) : rehearsal_script_run(rehearsal, err);
  rehearsal->seconds = (double)(clock_monotonic_us() - started) / 1e6;
  rehearsal->deadline_us = 0;
  rehearsal_watch_stop(&watch);
  return status == STATUS_OK ? rehearsal_relations_after(rehearsal, err) : status;
}

static Status compare(Rehearsal *rehearsal, Error *err) {
  DrillRun *drill = &rehearsal->drill;
  Conninfo *conninfo = NULL;
  Status status = drill_conninfo(drill, drill->database_name, &conninfo, err);
  if (status != STATUS_OK)
    return status;
  status = plan_of_copy(&rehearsal->plan, rehearsal->context, conninfo, fingerprint_builder_toc(drill->rebuilder),
                        rehearsal->request.json, err);
  if (status != STATUS_OK)
    return drill_blame_cluster(drill, err);
  rehearsal_findings_make(rehearsal);
  return STATUS_OK;
}

static char *stages_json(const Rehearsal *rehearsal, double copied, double rehearsed, double compared) {
  json_t *stages = drill_stages_json(&rehearsal->drill);
  json_object_set_new(stages, "drill", json_real(copied));
  json_object_set_new(stages, "rehearse", json_real(rehearsed - copied));
  json_object_set_new(stages, "comparing", json_real(compared - rehearsed));
  char *text = json_dumps(stages, JSON_COMPACT | JSON_REAL_PRECISION(6));
  json_decref(stages);
  return text;
}

static double since(int64_t started_us) {
  return (double)(clock_monotonic_us() - started_us) / 1e6;
}

/* As it will be read: with a mac that the coordinator cannot make. */
static char *signed_report(Rehearsal *rehearsal) {
  CLEANUP_FREE char *text = rehearsal_report(rehearsal);
  const char *nonce = json_string_value(json_object_get(rehearsal->request.json, "nonce"));
  char mac[REHEARSAL_MAC_SIZE];
  json_t *json = json_loads(text, 0, NULL);
  if (!json)
    return STEAL(text);
  rehearsal_report_mac(rehearsal->request.secret, nonce ? nonce : "", json, mac);
  json_object_set_new(json, "mac", json_string(mac));
  char *out = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6));
  json_decref(json);
  return out;
}

Status rehearse_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(rehearsal_release) Rehearsal rehearsal = {.context = context};
  int64_t started = clock_monotonic_us();
  rehearsal_statements_init(&rehearsal.statements);
  Status status = rehearsal_request_take(&rehearsal, err);
  if (status == STATUS_OK)
    status = make_copy(&rehearsal, err);
  double copied = since(started);
  if (status == STATUS_OK) {
    phase(&rehearsal, "rehearsing");
    status = migrate(&rehearsal, err);
  }
  double rehearsed = since(started);
  if (status == STATUS_OK) {
    phase(&rehearsal, "comparing");
    status = compare(&rehearsal, err);
  }
  result->stages_json = stages_json(&rehearsal, copied, rehearsed, since(started));
  if (status != STATUS_OK)
    return status;
  result->report_json = signed_report(&rehearsal);
  log_info("the rehearsal is over", "verdict", rehearsal_verdict(&rehearsal), NULL);
  return STATUS_OK;
}
