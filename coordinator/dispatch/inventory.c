/* Inventories: an agent tells, page by page, what the repository holds of a database. A page is a lease: its result is
 * taken, and what is rebuilt of it is written, in one transaction, and the job waits for the next one. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { REFUSED_SHOWN = 100, STRAYS_SHOWN = 20, KEY_LIMIT = 1000, TEXT_LIMIT = 512, ATTEMPTS_MOST = 4096, IDS = 64 };

static const char *text_of(const json_t *object, const char *member) {
  const char *text = json_string_value(json_object_get(object, member));
  return text ? text : "";
}

/* ---- asking ---- */

static const OpenJob *under_way(const Dispatch *dispatch, const char *database) {
  for (const OpenJob *open = open_jobs_of(dispatch, database); open; open = open->next_of_database)
    if (open->job.kind == LEDGER_JOB_INVENTORY)
      return open;
  return NULL;
}

/* *job_id stays NULL if there is none. */
static Status join(Dispatch *dispatch, const char *database, bool rebuild, char **job_id, Error *err) {
  OpenJob *first;
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Status status = open_jobs(dispatch, &first, err);
  const OpenJob *open = status == STATUS_OK ? under_way(dispatch, database) : NULL;
  if (!open)
    return status;
  status = ledger_job_get(dispatch->ledger, open->job.id, &job, err);
  if (status != STATUS_OK)
    return status;
  if (json_is_true(json_object_get(job.request, "rebuild")) != rebuild) {
    error_set(err, ERR_CONFLICT, "another inventory of database %s is under way: %s", database, job.id);
    error_object(err, "%s", job.id);
    return ERR_CONFLICT;
  }
  *job_id = memory_strdup(job.id);
  return STATUS_OK;
}

static Status insert(Change *change, const char *database, bool rebuild, const Requester *requester, char **job_id,
                     Error *err) {
  Dispatch *dispatch = change->dispatch;
  CLEANUP(ledger_job_release)
  LedgerJob job = {.id = memory_strdup(id_new().text),
                   .database = memory_strdup(database),
                   .kind = LEDGER_JOB_INVENTORY,
                   .state = JOB_QUEUED,
                   .attempt = 1,
                   .priority = PRIORITY_SCHEDULED, /* who waits for a checkpoint's drill goes before */
                   .created_us = dispatch->wall_us(),
                   .requested_by = memory_strdup(requester->name ? requester->name : ""),
                   .request = json_pack("{s:b, s:s}", "rebuild", rebuild, "after", "")};
  const Checkpoint none = {.database = job.database};
  Status status = ledger_job_insert(dispatch->ledger, &job, err);
  if (status != STATUS_OK)
    return status;
  track_get(dispatch, &job);
  change->work = true;
  *job_id = memory_strdup(job.id);
  return change_event(change, "inventory.requested", &none, &job, requester, json_pack("{s:b}", "rebuild", rebuild),
                      err);
}

Status dispatch_request_inventory(Dispatch *dispatch, const char *database, bool rebuild, const Requester *requester,
                                  char **job_id, Error *err) {
  if (!fleet_config(dispatch->fleet, database) || !request_sees(requester, database)) {
    error_set(err, ERR_NOT_FOUND, "there is no database %s", database);
    error_object(err, "%s", database);
    return ERR_NOT_FOUND;
  }
  CLEANUP(change_release) Change change = {0};
  CLEANUP_FREE char *id = NULL;
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = join(dispatch, database, rebuild, &id, err);
  if (status == STATUS_OK && !id) {
    status = insert(&change, database, rebuild, requester, &id, err);
    if (status == STATUS_OK)
      status = change_commit(&change, err);
  }
  if (status == STATUS_OK)
    *job_id = STEAL(id);
  return status;
}

Status inventory_message(const LedgerJob *job, Pgseal__Job *message, Error *err) {
  (void)err;
  message->inventory = memory_alloc(sizeof *message->inventory);
  pgseal__inventory_spec__init(message->inventory);
  message->inventory->after = memory_strdup(text_of(job->request, "after"));
  return STATUS_OK;
}

/* ---- the report ---- */

static json_t *member(json_t *report, const char *name, json_t *(*make)(void)) {
  json_t *value = json_object_get(report, name);
  if (!value) {
    value = make();
    json_object_set_new(report, name, value);
  }
  return value;
}

void inventory_count(json_t *report, const char *name, int64_t more) {
  json_t *counts = member(report, "counts", json_object);
  json_object_set_new(counts, name, json_integer(json_integer_value(json_object_get(counts, name)) + more));
}

/* Whose keys would have to be vouched for, for how many documents. */
static void note_key(json_t *report, const char *agent, const char *key) {
  json_t *keys = member(report, "unknown_keys", json_array), *item;
  size_t index;
  json_array_foreach(keys, index, item) {
    if (strcmp(text_of(item, "public_key"), key) != 0 || strcmp(text_of(item, "agent"), agent) != 0)
      continue;
    json_object_set_new(item, "documents", json_integer(json_integer_value(json_object_get(item, "documents")) + 1));
    return;
  }
  if (json_array_size(keys) < REFUSED_SHOWN)
    json_array_append_new(keys, json_pack("{s:o, s:o, s:i}", "agent", intake_text(agent, IDS), "public_key",
                                          intake_text(key, PUBLIC_KEY_HEX_SIZE), "documents", 1));
}

void inventory_refuse(json_t *report, const char *object, const char *reason, const char *agent, const char *key,
                      const char *message) {
  json_t *refused = member(report, "refused", json_array);
  inventory_count(report, "refused", 1);
  if (strcmp(reason, "unknown_key") == 0)
    note_key(report, agent, key);
  if (json_array_size(refused) < REFUSED_SHOWN)
    json_array_append_new(refused, json_pack("{s:o, s:s, s:o, s:o, s:o}", "object", intake_text(object, KEY_LIMIT),
                                             "reason", reason, "agent", intake_text(agent, IDS), "public_key",
                                             intake_text(key, PUBLIC_KEY_HEX_SIZE), "message",
                                             intake_text(message, TEXT_LIMIT)));
}

/* What no repository knows. */
static json_t *lost(void) {
  static const char *const texts[] = {
      "who asked for a checkpoint, with which idempotency key, and checkpoints that stored nothing",
      "pins and their reasons: what was pinned has to be pinned again",
      "drills that errored, plans, restores, rehearsals, trials, and their reports and approvals",
      "tokens, invitations and certificates of agents, revocations: agents join anew, revoked keys have to stay out",
      "what was held back (drained, cordoned, paused), fleet.yaml where it was applied by the API, how far schedules "
      "were",
      "the chain of events before this ledger began"};
  json_t *list = json_array();
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    json_array_append_new(list, json_string(texts[i]));
  return list;
}

/* ---- a page ---- */

static bool page_valid(const Pgseal__InventoryPage *page, const char *after) {
  const char *last = after;
  if (page->n_attempts > ATTEMPTS_MOST || page->n_stray_keys > STRAYS_SHOWN)
    return false;
  for (size_t i = 0; i < page->n_attempts; i++) {
    const Pgseal__InventoryAttempt *attempt = page->attempts[i];
    bool more = i > 0 && strcmp(attempt->checkpoint_id, last) == 0;
    if (!id_valid(attempt->checkpoint_id) || (!more && strcmp(attempt->checkpoint_id, last) <= 0) ||
        attempt->attempt == 0 || attempt->attempt > INT32_MAX || attempt->bytes < 0 || attempt->objects > INT64_MAX)
      return false;
    last = attempt->checkpoint_id;
  }
  return !*page->next || (page->n_attempts > 0 && strcmp(page->next, last) == 0);
}

static Status take_attempts(Change *change, const LedgerJob *job, const Pgseal__InventoryPage *page, json_t *report,
                            Error *err) {
  bool rebuild = json_is_true(json_object_get(job->request, "rebuild"));
  Status status = STATUS_OK;
  for (size_t i = 0, count; i < page->n_attempts && status == STATUS_OK; i += count) {
    for (count = 1; i + count < page->n_attempts; count++)
      if (strcmp(page->attempts[i]->checkpoint_id, page->attempts[i + count]->checkpoint_id) != 0)
        break;
    status = rebuild_checkpoint(change, job, (const Pgseal__InventoryAttempt *const *)page->attempts + i, count,
                                rebuild, report, err);
  }
  json_t *strays = member(report, "strays", json_array);
  for (size_t i = 0; i < page->n_stray_keys && json_array_size(strays) < STRAYS_SHOWN; i++)
    json_array_append_new(strays, intake_text(page->stray_keys[i], KEY_LIMIT));
  inventory_count(report, "strays", page->strays < INT32_MAX ? (int64_t)page->strays : INT32_MAX);
  return status;
}

/* Queued again, for what is behind. */
static Status go_on(Change *change, LedgerJob *job, const char *next, Error *err) {
  Dispatch *dispatch = change->dispatch;
  if (!job_walk(&job->state, JOB_EVENT_RETRY))
    return error_set(err, ERR_INTERNAL, "job %s is %s, and cannot go on", job->id, job_state_name(job->state));
  json_object_set_new(job->request, "after", json_string(next));
  job->attempt = 1; /* tries count anew for each page */
  job->lease_until_us = 0;
  job->not_before_us = 0;
  job_set_error(job, NULL);
  Status status = ledger_job_forget(dispatch->ledger, job->id, job->request, err);
  if (status == STATUS_OK)
    status = ledger_job_update(dispatch->ledger, job, err);
  change->work = true;
  return status;
}

static Status load_report(Dispatch *dispatch, const LedgerJob *job, json_t **report, Error *err) {
  Status status = ledger_job_report_get(dispatch->ledger, job->id, report, err);
  if (status == STATUS_OK && !*report)
    *report = json_pack("{s:b, s:o, s:{}, s:[]}", "rebuild", json_is_true(json_object_get(job->request, "rebuild")),
                        "lost", lost(), "counts", "refused");
  return status;
}

static Status take_page(Change *change, Work *work, LedgerJob *job, const Pgseal__InventoryPage *page, Error *err) {
  CLEANUP(intake_json_free) json_t *report = NULL;
  Status status = load_report(change->dispatch, job, &report, err);
  if (status == STATUS_OK)
    status = take_attempts(change, job, page, report, err);
  if (status == STATUS_OK)
    status = ledger_job_report_put(change->dispatch->ledger, job, report, err);
  if (status != STATUS_OK)
    return status;
  return *page->next ? go_on(change, job, page->next, err)
                     : inventory_over(change, work, job, JOB_EVENT_DONE, NULL, err);
}

Status inventory_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, Error *err) {
  CLEANUP(intake_json_free) json_t *report = NULL;
  job_set_error(job, cause);
  Status status = load_report(change->dispatch, job, &report, err);
  if (status == STATUS_OK)
    status = job_end(change, work, job, event, err);
  if (status != STATUS_OK)
    return status;
  json_t *detail = json_pack("{s:O, s:O}", "rebuild", json_object_get(report, "rebuild"), "counts",
                             json_object_get(report, "counts"));
  if (job->error_code)
    json_object_set_new(detail, "error", json_string(job->error_code));
  CLEANUP_FREE char *kind = memory_format("inventory.%s", job_state_name(job->state));
  return change_event(change, kind, &work->checkpoint, job, &(Requester){.name = job->requested_by}, detail, err);
}

/* ---- results ---- */

static Status errored(Change *change, Work *work, LedgerJob *job, const Error *cause, Error *err) {
  if (job->cancel_requested || error_class(cause->status) == ERROR_CLASS_TRANSIENT)
    return job_retry(change, work, job, cause, false, err);
  return inventory_over(change, work, job, JOB_EVENT_ERRORED, cause, err);
}

Status inventory_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  if (result && result->outcome == PGSEAL__JOB_RESULT__OUTCOME__CANCELED) {
    if (job->cancel_requested)
      error_set(&cause, ERR_CANCELED, "canceled");
    else
      error_set(&cause, ERR_AGENT_LOST, "agent %s stopped job %s (it was stopped itself?)", job->agent, job->id);
    return errored(change, work, job, &cause, err);
  }
  if (result && result->outcome != PGSEAL__JOB_RESULT__OUTCOME__DONE) {
    intake_failure(result->error, &cause);
    return errored(change, work, job, &cause, err);
  }
  if (!result || !result->inventory || !page_valid(result->inventory, text_of(job->request, "after"))) {
    error_set(&cause, ERR_PROTOCOL, "agent %s sent no inventory, or one that makes no sense", job->agent);
    return errored(change, work, job, &cause, err);
  }
  return take_page(change, work, job, result->inventory, err);
}
