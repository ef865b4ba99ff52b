#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { DRILL_WAIT_MS = 500, DRILL_LOOK_US = 50000 };

static void follow_set(char **to, const char *value) {
  if (!value || !*value || (*to && strcmp(*to, value) == 0))
    return;
  free(*to);
  *to = memory_strdup(value);
}

static Status follow_take(DrillRun *run, const JobFollow *follow, Error *err) {
  if (follow->state == PGSEAL__FOLLOW__STATE__GONE) {
    error_set(err, ERR_CANCELED, "the dump that this drill follows was given up");
    error_remedy(err, "See why the dump ended; nothing was left to drill.");
    return err->status;
  }
  if (follow->prefix && *follow->prefix && strcmp(follow->prefix, run->prefix) != 0) {
    follow_set(&run->prefix, follow->prefix);
    run->moved = true;
    return error_set(err, ERR_CONFLICT, "the dump that this drill follows is tried again under %s", follow->prefix);
  }
  follow_set(&run->bootstrap_role, follow->bootstrap_role);
  follow_set(&run->database_name, follow->database_name);
  if (follow->server_major > 0)
    run->major = follow->server_major;
  if (follow->segments > run->available)
    run->available = follow->segments;
  /* the dump stores its roles before any segment, or has none */
  if (follow->roles_stored)
    run->has_roles = run->roles_known = true;
  else if (follow->segments > 0)
    run->roles_known = true;
  if (follow->state == PGSEAL__FOLLOW__STATE__STORED && follow->manifest_sha256 && *follow->manifest_sha256) {
    follow_set(&run->manifest_sha256, follow->manifest_sha256);
    run->stored = true;
  }
  return STATUS_OK;
}

Status drill_follow(DrillRun *run, int timeout_ms, Error *err) {
  if (run->stored)
    return STATUS_OK;
  JobFollow follow = {0};
  Status status = job_follow_wait(run->context, &run->follow_serial, timeout_ms, &follow, err);
  run->checked_us = clock_monotonic_us();
  if (status != STATUS_OK)
    return status == ERR_TIMEOUT ? STATUS_OK : status; /* no news */
  status = follow_take(run, &follow, err);
  job_follow_release(&follow);
  return status;
}

Status drill_check(DrillRun *run, Error *err) {
  Status status = job_check(run->context, err);
  if (status != STATUS_OK || run->stored || clock_monotonic_us() - run->checked_us < DRILL_LOOK_US)
    return status;
  return drill_follow(run, 0, err);
}

Status drill_check_hook(void *run, Error *err) {
  return drill_check(run, err);
}

static Status follow_step(DrillRun *run, Error *err) {
  Status status = job_check(run->context, err);
  if (status == STATUS_OK)
    status = drill_follow(run, DRILL_WAIT_MS, err);
  drill_report(run, false);
  return status;
}

Status drill_await_manifest(DrillRun *run, Error *err) {
  Status status = STATUS_OK;
  while (status == STATUS_OK && !run->stored)
    status = follow_step(run, err);
  if (status == STATUS_OK && !run->manifest_read)
    status = drill_manifest_read(run, err);
  return status;
}

Status drill_await_start(DrillRun *run, Error *err) {
  Status status = STATUS_OK;
  while (status == STATUS_OK && !run->stored && (run->major == 0 || !run->bootstrap_role))
    status = follow_step(run, err);
  if (status == STATUS_OK && run->stored)
    status = drill_await_manifest(run, err);
  return status;
}

Status drill_await_roles(DrillRun *run, Error *err) {
  Status status = STATUS_OK;
  while (status == STATUS_OK && !run->stored && !run->roles_known)
    status = follow_step(run, err);
  if (status == STATUS_OK && run->stored)
    status = drill_await_manifest(run, err);
  return status;
}
