/* Freeing records, and what kinds of jobs are called. */
#include "coordinator/ledger/ledger.h"

#include <stdlib.h>
#include <string.h>

void checkpoint_release(Checkpoint *c) {
  char *texts[] = {c->id,
                   c->database,
                   c->tag,
                   c->requested_by,
                   c->idempotency_key,
                   c->dump_agent,
                   c->manifest_sha256,
                   c->proof_sha256,
                   c->restore_drill,
                   c->error_code,
                   c->error_message,
                   c->error_remedy,
                   c->error_object};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
  json_decref(c->detail);
  memset(c, 0, sizeof *c);
}

void checkpoint_list_free(Checkpoint *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    checkpoint_release(&items[i]);
  free(items);
}

static const char *const kind_names[] = {
    [LEDGER_JOB_DUMP] = "dump",           [LEDGER_JOB_DRILL] = "drill",       [LEDGER_JOB_PLAN] = "plan",
    [LEDGER_JOB_RESTORE] = "restore",     [LEDGER_JOB_REHEARSE] = "rehearse", [LEDGER_JOB_PRUNE] = "prune",
    [LEDGER_JOB_INVENTORY] = "inventory", [LEDGER_JOB_TRIAL] = "trial",
};

const char *ledger_job_kind_name(LedgerJobKind kind) {
  return (unsigned)kind < sizeof kind_names / sizeof *kind_names && kind_names[kind] ? kind_names[kind] : "unknown";
}

bool ledger_job_kind_from_name(const char *name, LedgerJobKind *kind) {
  for (size_t i = LEDGER_JOB_DUMP; i < sizeof kind_names / sizeof *kind_names; i++) {
    if (!kind_names[i] || strcmp(kind_names[i], name) != 0)
      continue;
    *kind = (LedgerJobKind)i;
    return true;
  }
  return false;
}

bool ledger_job_recovers(LedgerJobKind kind) {
  return kind == LEDGER_JOB_PLAN || kind == LEDGER_JOB_RESTORE || kind == LEDGER_JOB_REHEARSE ||
         kind == LEDGER_JOB_TRIAL;
}

void ledger_job_release(LedgerJob *job) {
  char *texts[] = {job->id,         job->checkpoint_id, job->database,        job->agent,
                   job->error_code, job->error_message, job->error_remedy,    job->error_object,
                   job->approval,   job->requested_by,  job->idempotency_key, job->approved_by};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
  json_decref(job->progress);
  json_decref(job->request);
  memset(job, 0, sizeof *job);
}

void ledger_job_list_free(LedgerJob *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_job_release(&items[i]);
  free(items);
}

void ledger_event_release(LedgerEvent *event) {
  char *texts[] = {event->kind, event->checkpoint_id, event->job_id, event->database, event->agent, event->actor};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
    free(texts[i]);
  json_decref(event->detail);
  memset(event, 0, sizeof *event);
}

void ledger_event_list_free(LedgerEvent *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_event_release(&items[i]);
  free(items);
}

void ledger_token_release(LedgerToken *token) {
  free(token->id);
  free(token->name);
  free(token->role);
  free(token->databases);
  free(token->person);
  memset(token, 0, sizeof *token);
}

void ledger_token_list_free(LedgerToken *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_token_release(&items[i]);
  free(items);
}

void ledger_agent_list_free(LedgerAgent *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(items[i].name);
    free(items[i].version);
    free(items[i].host);
    json_decref(items[i].detail);
  }
  free(items);
}

void ledger_enrollment_release(LedgerEnrollment *row) {
  free(row->name);
  json_decref(row->capabilities);
  json_decref(row->databases);
  free(row->public_key);
  free(row->serial);
  free(row->certificate);
  memset(row, 0, sizeof *row);
}

void ledger_fleet_release(LedgerFleet *fleet) {
  free(fleet->name);
  free(fleet->text);
  free(fleet->applied_by);
  *fleet = (LedgerFleet){0};
}
