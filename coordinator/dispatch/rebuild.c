/* What a repository holds and the ledger does not know gets into the ledger: a checkpoint that a verified proof says is
 * proven becomes sealed, one that a proof condemns failed, and all else errored: stored but unproven, or never
 * finished. What was refused stays out, so that it can come in once somebody vouches for its key, and nothing collects
 * it. */
#include "coordinator/dispatch/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

typedef struct Rebuild {
  Change *change;
  const LedgerJob *job;
  Found *found; /* of each attempt */
  size_t count;
  const Found *chosen;        /* whose manifest counts; NULL: none has one */
  const FoundProof *deciding; /* of its proofs; NULL: none */
  Checkpoint checkpoint;
  bool there;   /* the ledger has it, as an earlier rebuild left it */
  char *tables; /* of the chosen one, packed; NULL: they were not told */
  json_t *report;
} Rebuild;

static void release(Rebuild *rebuild) {
  for (size_t i = 0; i < rebuild->count; i++)
    found_release(&rebuild->found[i]);
  free(rebuild->found);
  free(rebuild->tables);
  checkpoint_release(&rebuild->checkpoint);
}

/* ---- what counts ---- */

static const FoundProof *newest(const Found *found, Outcome outcome) {
  for (size_t i = 0; i < found->proof_count; i++)
    if (found->proofs[i].proof.outcome == outcome)
      return &found->proofs[i];
  return NULL;
}

/* Of those that decide: what came first ended the checkpoint, and said how long that took. Proofs: the newest first. */
static const FoundProof *oldest(const Found *found, bool failed_too) {
  const FoundProof *oldest = NULL;
  for (size_t i = 0; i < found->proof_count; i++)
    if (found->proofs[i].proof.outcome == OUTCOME_PROVEN ||
        (failed_too && found->proofs[i].proof.outcome == OUTCOME_FAILED))
      oldest = &found->proofs[i];
  return oldest;
}

/* Failed is final, whatever else says. */
static const FoundProof *decide(const Found *found) {
  const FoundProof *failed = newest(found, OUTCOME_FAILED);
  return failed ? failed : newest(found, OUTCOME_PROVEN);
}

/* What an earlier rebuild took stays what it is. */
static bool fits(const Rebuild *rebuild, const Found *found) {
  const Checkpoint *c = &rebuild->checkpoint;
  return found->whole && (!rebuild->there || !c->manifest_sha256 || strcmp(c->manifest_sha256, found->sha256) == 0);
}

/* One that is proven; else the last that was stored. */
static void choose(Rebuild *rebuild) {
  for (size_t i = 0; i < rebuild->count; i++) {
    const Found *found = &rebuild->found[i];
    bool proven = found->whole && newest(found, OUTCOME_PROVEN);
    bool before = rebuild->chosen && newest(rebuild->chosen, OUTCOME_PROVEN);
    bool later = !rebuild->chosen || found->attempt->attempt > rebuild->chosen->attempt->attempt;
    if (fits(rebuild, found) && (proven != before ? proven : later))
      rebuild->chosen = found;
  }
  rebuild->deciding = rebuild->chosen ? decide(rebuild->chosen) : NULL;
}

static bool any_refused(const Rebuild *rebuild) {
  for (size_t i = 0; i < rebuild->count; i++)
    if (rebuild->found[i].refused)
      return true;
  return false;
}

/* ---- states, by their tables ---- */

static Status walk(Checkpoint *checkpoint, const CheckpointEvent *events, size_t count, Error *err) {
  for (size_t i = 0; i < count; i++)
    if (!checkpoint_walk(&checkpoint->state, events[i]))
      return error_set(err, ERR_INTERNAL, "checkpoint %s is %s, and cannot be rebuilt", checkpoint->id,
                       checkpoint_state_name(checkpoint->state));
  return STATUS_OK;
}

static Status walk_to_stored(Rebuild *rebuild, Error *err) {
  static const CheckpointEvent fresh[] = {CHECKPOINT_EVENT_DUMP_STARTED, CHECKPOINT_EVENT_DUMP_STORED};
  static const CheckpointEvent again[] = {CHECKPOINT_EVENT_DRILL_REQUESTED};
  return rebuild->there ? walk(&rebuild->checkpoint, again, ARRAY_SIZE(again), err)
                        : walk(&rebuild->checkpoint, fresh, ARRAY_SIZE(fresh), err);
}

static Status walk_to_end(Rebuild *rebuild, Error *err) {
  CheckpointEvent drilled[] = {CHECKPOINT_EVENT_DRILL_STARTED, CHECKPOINT_EVENT_DRILL_PROVEN};
  static const CheckpointEvent unproven[] = {CHECKPOINT_EVENT_DRILL_ERRORED};
  if (!rebuild->deciding)
    return walk(&rebuild->checkpoint, unproven, ARRAY_SIZE(unproven), err);
  if (rebuild->deciding->proof.outcome == OUTCOME_FAILED)
    drilled[1] = CHECKPOINT_EVENT_DRILL_FAILED;
  return walk(&rebuild->checkpoint, drilled, ARRAY_SIZE(drilled), err);
}

/* ---- what the documents say ---- */

static Status take_manifest(Rebuild *rebuild, Error *err) {
  Checkpoint *c = &rebuild->checkpoint;
  const Pgseal__InventoryManifest *manifest = rebuild->chosen->attempt->manifest;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  result.dump = manifest->dump;
  Status status = intake_tables(manifest->dump, &rebuild->tables, err);
  if (status == STATUS_OK)
    status = intake_dump(&result, c, err);
  if (status != STATUS_OK)
    return status;
  text_set(&c->manifest_sha256, rebuild->chosen->sha256);
  text_set(&c->dump_agent, manifest->agent);
  text_set(&c->tag, manifest->tag);
  c->dump_attempt = (int)rebuild->chosen->attempt->attempt;
  checkpoint_set_prefix(c);
  json_object_set_new(checkpoint_detail(c), "dump_public_key", json_string(rebuild->chosen->key));
  return STATUS_OK;
}

/* An array of the proof's, as the result of its drill would have had it. */
static char *dumped(json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT);
  json_decref(json);
  return text ? text : memory_strdup("");
}

static char *differences_of(const Proof *proof) {
  json_t *list = json_array();
  for (size_t i = 0; i < proof->difference_count; i++) {
    const ProofDifference *d = &proof->differences[i];
    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "kind", d->kind, "object", d->object, "detail",
                                          d->detail, "remedy", d->remedy));
  }
  return dumped(list);
}

static char *notes_of(const Proof *proof) {
  json_t *list = json_array();
  for (size_t i = 0; i < proof->note_count; i++)
    json_array_append_new(list, json_string(proof->notes[i]));
  return dumped(list);
}

static Status take_proof(Rebuild *rebuild, const FoundProof *item, Error *err) {
  Checkpoint *c = &rebuild->checkpoint;
  const Proof *proof = &item->proof;
  CLEANUP_FREE char *differences = differences_of(proof);
  CLEANUP_FREE char *notes = notes_of(proof);
  CLEANUP_FREE char *stages = dumped(json_incref(proof->stages));
  Pgseal__DrillResult drill = PGSEAL__DRILL_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  drill.image = proof->image;
  drill.engine = proof->engine;
  drill.server_version = proof->server_version;
  drill.differences_json = differences;
  drill.notes_json = notes;
  drill.proof_key = item->message->document->key;
  result.drill = &drill;
  result.stages_json = stages;
  Status status = intake_drill(&result, c, err);
  if (status != STATUS_OK)
    return status;
  json_t *detail = checkpoint_detail(c);
  text_set(&c->proof_sha256, item->sha256);
  text_set(&c->restore_drill, outcome_name(proof->outcome));
  json_object_set_new(detail, "drill_agent", json_string(proof->agent));
  json_object_set_new(detail, "assertions", json_integer((json_int_t)json_array_size(proof->assertions)));
  if (proof->outcome == OUTCOME_PROVEN)
    json_object_set_new(detail, "proven_us", json_integer(proof->finished_us));
  const FoundProof *first = oldest(rebuild->chosen, true);
  int64_t took_us = first->proof.finished_us - rebuild->chosen->attempt->manifest->started_us;
  c->seconds = took_us > 0 ? (double)took_us / 1e6 : 0;
  checkpoint_set_error(c, proof->outcome == OUTCOME_FAILED ? &proof->error : NULL);
  return STATUS_OK;
}

static void say_unproven(Checkpoint *checkpoint) {
  Error cause;
  error_set(&cause, ERR_PROOF_INVALID, "it was rebuilt from the repository, where no proof of it is that counts");
  error_remedy(&cause, "Drill it: pgseal drill %s", checkpoint->id);
  checkpoint_set_error(checkpoint, &cause);
}

static void say_unfinished(Checkpoint *checkpoint) {
  CLEANUP_FREE char *key = memory_format("%s/%s/", checkpoint->database, checkpoint->id);
  Error cause;
  error_set(&cause, ERR_OBJECT_NOT_FOUND,
            "there is no manifest below %s: a dump that never ended, or what is left of a pruned checkpoint", key);
  error_remedy(&cause, "Nothing can be restored from it; retention collects it after its grace time.");
  error_object(&cause, "%s", key);
  checkpoint_set_error(checkpoint, &cause);
}

/* ---- rows ---- */

static Status insert_job(const Rebuild *rebuild, LedgerJob *job, JobEvent end, Error *err) {
  Ledger *ledger = rebuild->change->dispatch->ledger;
  job->checkpoint_id = rebuild->checkpoint.id;
  job->database = rebuild->checkpoint.database;
  if (!job_walk(&job->state, JOB_EVENT_LEASE) || !job_walk(&job->state, end))
    return error_set(err, ERR_INTERNAL, "the table of jobs has no such way");
  return ledger_job_insert(ledger, job, err);
}

static Status insert_dump(const Rebuild *rebuild, Error *err) {
  const Checkpoint *c = &rebuild->checkpoint;
  const Pgseal__InventoryManifest *manifest = rebuild->chosen ? rebuild->chosen->attempt->manifest : NULL;
  Id id = id_new();
  LedgerJob job = {.id = id.text,
                   .kind = LEDGER_JOB_DUMP,
                   .state = JOB_QUEUED,
                   .attempt = c->dump_attempt,
                   .agent = c->dump_agent,
                   .created_us = c->created_us,
                   .started_us = manifest ? manifest->started_us : c->created_us,
                   .finished_us = manifest ? manifest->finished_us : c->finished_us,
                   .error_code = manifest ? NULL : c->error_code,
                   .error_message = manifest ? NULL : c->error_message};
  return insert_job(rebuild, &job, manifest ? JOB_EVENT_DONE : JOB_EVENT_GIVE_UP, err);
}

/* "<job>", or "<job>-<attempt>". */
static bool parse_drill(const char *text, Id *id, int *attempt) {
  if (strlen(text) < ID_SIZE - 1 || strlen(text) > ID_SIZE + 9)
    return false;
  memcpy(id->text, text, ID_SIZE - 1);
  id->text[ID_SIZE - 1] = '\0';
  const char *rest = text + ID_SIZE - 1;
  *attempt = *rest == '-' ? atoi(rest + 1) : 1;
  return id_valid(id->text) && *attempt > 0 && (!*rest || *rest == '-');
}

static Status insert_drill(const Rebuild *rebuild, const Proof *proof, Error *err) {
  Id id;
  int attempt;
  CLEANUP(ledger_job_release) LedgerJob known = {0};
  Error missing;
  if (!parse_drill(proof->drill_id, &id, &attempt))
    return STATUS_OK;
  Status status = ledger_job_get(rebuild->change->dispatch->ledger, id.text, &known, &missing);
  if (status == STATUS_OK) /* another attempt's, that proved the same */
    return STATUS_OK;
  if (status != ERR_NOT_FOUND) {
    *err = missing;
    return status;
  }
  LedgerJob job = {.id = id.text,
                   .kind = LEDGER_JOB_DRILL,
                   .state = JOB_QUEUED,
                   .attempt = attempt,
                   .agent = proof->agent,
                   .created_us = proof->started_us,
                   .started_us = proof->started_us,
                   .finished_us = proof->finished_us};
  bool failed = proof->outcome == OUTCOME_FAILED;
  if (failed)
    job_set_error(&job, &proof->error);
  status = insert_job(rebuild, &job, failed ? JOB_EVENT_FAILED : JOB_EVENT_DONE, err);
  job_set_error(&job, NULL);
  return status;
}

static Status insert_jobs(const Rebuild *rebuild, Error *err) {
  Status status = !rebuild->there || rebuild->chosen ? insert_dump(rebuild, err) : STATUS_OK;
  for (size_t i = rebuild->chosen ? rebuild->chosen->proof_count : 0; i-- > 0 && status == STATUS_OK;)
    status = insert_drill(rebuild, &rebuild->chosen->proofs[i].proof, err); /* the oldest first, as they were made */
  return status;
}

static json_t *event_detail(const Rebuild *rebuild) {
  const Checkpoint *c = &rebuild->checkpoint;
  json_t *detail = json_pack("{s:s, s:s}", "state", checkpoint_state_name(c->state), "tag", c->tag);
  if (rebuild->chosen) {
    json_object_set_new(detail, "manifest_sha256", json_string(c->manifest_sha256));
    json_object_set_new(detail, "dump_agent", json_string(c->dump_agent));
    json_object_set_new(detail, "dump_public_key", json_string(rebuild->chosen->key));
    json_object_set_new(detail, "proofs", json_integer((json_int_t)rebuild->chosen->proof_count));
  }
  if (rebuild->deciding) {
    json_object_set_new(detail, "proof_sha256", json_string(rebuild->deciding->sha256));
    json_object_set_new(detail, "drill_agent", json_string(rebuild->deciding->proof.agent));
    json_object_set_new(detail, "drill_public_key", json_string(rebuild->deciding->key));
  }
  return detail;
}

static Status save(Rebuild *rebuild, Error *err) {
  Change *change = rebuild->change;
  const Requester requester = {.name = rebuild->job->requested_by};
  Status status = rebuild->there ? ledger_checkpoint_update(change->dispatch->ledger, &rebuild->checkpoint, err)
                                 : ledger_checkpoint_insert(change->dispatch->ledger, &rebuild->checkpoint, err);
  if (status == STATUS_OK && rebuild->tables)
    status = ledger_tables_put(change->dispatch->ledger, rebuild->checkpoint.id, rebuild->tables, err);
  if (status == STATUS_OK)
    status = insert_jobs(rebuild, err);
  return status == STATUS_OK ? change_event(change, "checkpoint.rebuilt", &rebuild->checkpoint, rebuild->job,
                                            &requester, event_detail(rebuild), err)
                             : status;
}

/* ---- one checkpoint ---- */

static int last_attempt(const Rebuild *rebuild) {
  uint32_t last = 1;
  for (size_t i = 0; i < rebuild->count; i++)
    if (rebuild->found[i].attempt->attempt > last)
      last = rebuild->found[i].attempt->attempt;
  return (int)last;
}

static void begin(Rebuild *rebuild) {
  Checkpoint *c = &rebuild->checkpoint;
  int64_t now = rebuild->change->dispatch->wall_us();
  if (!rebuild->there) {
    *c = (Checkpoint){.id = memory_strdup(rebuild->found[0].attempt->checkpoint_id),
                      .database = memory_strdup(rebuild->job->database),
                      .tag = memory_strdup("unknown"),
                      .requested_by = memory_strdup(""),
                      .state = CHECKPOINT_REQUESTED,
                      .dump_attempt = last_attempt(rebuild)};
    c->created_us = id_time_us(c->id);
    checkpoint_set_prefix(c);
  }
  c->finished_us = now; /* what never sealed has all of its grace time again */
  json_object_set_new(checkpoint_detail(c), "rebuilt_us", json_integer(now));
}

/* A repository's word is no reason to give up all of it: what makes no sense is refused like what is forged. */
static Status refuse_senseless(Rebuild *rebuild, const Error *cause) {
  const Pgseal__InventoryManifest *manifest = rebuild->chosen->attempt->manifest;
  inventory_refuse(rebuild->report, manifest->document->key, "not_readable", manifest->agent, rebuild->chosen->key,
                   cause->message);
  inventory_count(rebuild->report, "checkpoints_refused", 1);
  return STATUS_OK;
}

static Status settle(Rebuild *rebuild, bool write, Error *err) {
  static const CheckpointEvent never[] = {CHECKPOINT_EVENT_DUMP_ERRORED};
  Checkpoint *c = &rebuild->checkpoint;
  Error cause;
  begin(rebuild);
  if (rebuild->chosen && take_manifest(rebuild, &cause) != STATUS_OK)
    return refuse_senseless(rebuild, &cause);
  if (rebuild->deciding && take_proof(rebuild, rebuild->deciding, &cause) != STATUS_OK)
    return refuse_senseless(rebuild, &cause);
  Status status = rebuild->chosen ? walk_to_stored(rebuild, err) : walk(c, never, ARRAY_SIZE(never), err);
  if (status == STATUS_OK && rebuild->chosen)
    status = walk_to_end(rebuild, err);
  if (status != STATUS_OK)
    return status;
  if (!rebuild->chosen)
    say_unfinished(c);
  else if (!rebuild->deciding)
    say_unproven(c);
  else
    c->finished_us =
        (c->state == CHECKPOINT_SEALED ? oldest(rebuild->chosen, false) : rebuild->deciding)->proof.finished_us;
  inventory_count(rebuild->report,
                  !rebuild->chosen     ? "unfinished"
                  : !rebuild->deciding ? "unproven"
                                       : c->restore_drill,
                  1);
  inventory_count(rebuild->report, "proofs", rebuild->chosen ? (int64_t)rebuild->chosen->proof_count : 0);
  return write ? save(rebuild, err) : STATUS_OK;
}

/* The ledger's own word stands. But where the repository holds something else, somebody should know. */
static void compare_known(const Rebuild *rebuild, const Pgseal__InventoryAttempt *const *attempts, size_t count) {
  const Checkpoint *c = &rebuild->checkpoint;
  inventory_count(rebuild->report, "known", 1);
  for (size_t i = 0; i < count && c->manifest_sha256 && !c->pruning_us; i++) {
    const Pgseal__InventoryManifest *manifest = attempts[i]->manifest;
    if ((int)attempts[i]->attempt == c->dump_attempt && manifest && manifest->document && !manifest->document->error &&
        strcmp(manifest->document->sha256, c->manifest_sha256) != 0)
      inventory_refuse(rebuild->report, manifest->document->key, "differs", manifest->agent, "",
                       "the ledger recorded another manifest in this place");
  }
}

/* What an earlier rebuild could not seal may be sealed now: its proof's key is known, or its dump has ended. */
static bool may_go_on(const Checkpoint *checkpoint) {
  return checkpoint->state == CHECKPOINT_ERRORED && !checkpoint->pruning_us &&
         json_is_integer(json_object_get(checkpoint->detail, "rebuilt_us"));
}

static Status look_up(Rebuild *rebuild, const char *id, bool *known, Error *err) {
  Error missing;
  Status status = ledger_checkpoint_get(rebuild->change->dispatch->ledger, id, &rebuild->checkpoint, &missing);
  *known = status == STATUS_OK;
  if (status == STATUS_OK || status == ERR_NOT_FOUND)
    return STATUS_OK;
  *err = missing;
  return status;
}

static Status check_all(Rebuild *rebuild, const Pgseal__InventoryAttempt *const *attempts, size_t count, Error *err) {
  Status status = STATUS_OK;
  rebuild->found = memory_alloc(count * sizeof *rebuild->found);
  for (size_t i = 0; i < count && status == STATUS_OK; i++) {
    status = found_check(rebuild->change->dispatch, rebuild->job->database, attempts[i], rebuild->report,
                         &rebuild->found[i], err);
    rebuild->count += status == STATUS_OK;
    inventory_count(rebuild->report, "proofs_left_out",
                    attempts[i]->proofs_left_out < INT32_MAX ? (int64_t)attempts[i]->proofs_left_out : INT32_MAX);
  }
  return status;
}

Status rebuild_checkpoint(Change *change, const LedgerJob *job, const Pgseal__InventoryAttempt *const *attempts,
                          size_t count, bool write, json_t *report, Error *err) {
  CLEANUP(release) Rebuild rebuild = {.change = change, .job = job, .report = report};
  bool known = false;
  inventory_count(report, "checkpoints", 1);
  Status status = look_up(&rebuild, attempts[0]->checkpoint_id, &known, err);
  if (status != STATUS_OK)
    return status;
  rebuild.there = known && may_go_on(&rebuild.checkpoint);
  if (known && (!rebuild.there || strcmp(rebuild.checkpoint.database, job->database) != 0)) {
    compare_known(&rebuild, attempts, count);
    return STATUS_OK;
  }
  status = check_all(&rebuild, attempts, count, err);
  if (status != STATUS_OK)
    return status;
  choose(&rebuild);
  if (rebuild.there && (!rebuild.chosen || (rebuild.checkpoint.manifest_sha256 && !rebuild.deciding))) {
    inventory_count(report, "known", 1);
    return STATUS_OK;
  }
  if (!rebuild.chosen && any_refused(&rebuild)) {
    inventory_count(report, "checkpoints_refused", 1);
    return STATUS_OK;
  }
  return settle(&rebuild, write, err);
}
