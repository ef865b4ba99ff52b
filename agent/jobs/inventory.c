#include "agent/jobs/inventory.h"

#include <stdlib.h>
#include <string.h>

#include "agent/jobs/job.h"
#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { STRAYS_SHOWN = 20, ID_LENGTH = 26, ATTEMPT_DIGITS = 9, PROOF_KEYS_MOST = 4096 };

/* A page is a result, which is a frame and then a message: all of it must be below FRAME_LIMIT. */
const InventoryBounds inventory_bounds = {
    .enough = 1 << 20, .most = 5 << 19, .object = 1 << 20, .checkpoints = 100, .proofs = 200};

typedef struct Walk {
  const char *own; /* "<database>/" */
  const InventoryWatch *watch;
  InventoryRoom room;
  Pgseal__InventoryPage *page;
  Pgseal__InventoryAttempt *attempt; /* being listed; of the page */
  bool manifest;                     /* it has one */
  char **proofs;                     /* its keys, the newest last */
  size_t proof_count;
  uint64_t proofs_dropped;
  char checkpoint[ID_LENGTH + 1]; /* of the attempt; "" before the first */
  uint64_t checkpoints;
  Status status;
  Error *err;
} Walk;

static void forget_proofs(Walk *walk) {
  for (size_t i = 0; i < walk->proof_count; i++)
    free(walk->proofs[i]);
  walk->proof_count = 0;
}

static void release(Walk *walk) {
  forget_proofs(walk);
  free(walk->proofs);
  if (walk->page)
    pgseal__inventory_page__free_unpacked(walk->page, NULL);
}

/* "<id>/attempt-<n>/<rest>"; NULL if it is nothing like that. */
static const char *parse(const char *text, char id[ID_LENGTH + 1], uint32_t *attempt) {
  static const char word[] = "/attempt-";
  if (strlen(text) <= ID_LENGTH || strncmp(text + ID_LENGTH, word, sizeof word - 1) != 0)
    return NULL;
  memcpy(id, text, ID_LENGTH);
  id[ID_LENGTH] = '\0';
  const char *digits = text + ID_LENGTH + sizeof word - 1;
  size_t length = strspn(digits, "0123456789");
  if (!id_valid(id) || length == 0 || length > ATTEMPT_DIGITS || *digits == '0' || digits[length] != '/')
    return NULL;
  *attempt = (uint32_t)strtoul(digits, NULL, 10);
  return digits + length + 1;
}

static void stray(Walk *walk, const char *key) {
  if (walk->page->n_stray_keys < STRAYS_SHOWN)
    ARRAY_PUSH(walk->page->stray_keys, walk->page->n_stray_keys, memory_strdup(key));
  walk->page->strays++;
}

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), size = strlen(end);
  return length > size && strcmp(text + length - size, end) == 0;
}

static void note(Walk *walk, const char *key, const char *rest) {
  if (strcmp(rest, "manifest.json.cms") == 0)
    walk->manifest = true;
  if (strncmp(rest, "proofs/", 7) != 0 || !ends_with(rest, ".json.cms"))
    return;
  if (walk->proof_count == PROOF_KEYS_MOST) {
    free(walk->proofs[0]);
    memmove(walk->proofs, walk->proofs + 1, --walk->proof_count * sizeof *walk->proofs);
    walk->proofs_dropped++;
  }
  ARRAY_PUSH(walk->proofs, walk->proof_count, memory_strdup(key));
}

/* The attempt is listed: now its documents are read. */
static Status close_attempt(Walk *walk, Error *err) {
  Pgseal__InventoryAttempt *attempt = walk->attempt;
  if (!attempt)
    return STATUS_OK;
  CLEANUP_FREE char *prefix =
      memory_format("%s%s/attempt-%u/", walk->own, attempt->checkpoint_id, (unsigned)attempt->attempt);
  Status status = walk->manifest ? inventory_manifest(&walk->room, prefix, attempt, err) : STATUS_OK;
  if (status == STATUS_OK)
    status = inventory_proofs(&walk->room, walk->proofs, walk->proof_count, attempt, err);
  attempt->proofs_left_out += walk->proofs_dropped;
  forget_proofs(walk);
  walk->proofs_dropped = 0;
  walk->manifest = false;
  walk->attempt = NULL;
  return status;
}

static void open_attempt(Walk *walk, const char *id, uint32_t number) {
  Pgseal__InventoryAttempt *attempt = memory_alloc(sizeof *attempt);
  pgseal__inventory_attempt__init(attempt);
  attempt->checkpoint_id = memory_strdup(id);
  attempt->attempt = number;
  walk->attempt = attempt;
  ARRAY_PUSH(walk->page->attempts, walk->page->n_attempts, attempt);
}

/* False: the page is full, or something went wrong. */
static bool begin_checkpoint(Walk *walk, const char *id) {
  if (walk->room.used >= walk->room.bounds->enough || walk->checkpoints >= walk->room.bounds->checkpoints) {
    walk->page->next = memory_strdup(walk->checkpoint);
    return false;
  }
  memcpy(walk->checkpoint, id, sizeof walk->checkpoint);
  walk->status = walk->watch->check(walk->watch->user, walk->checkpoints++, walk->err);
  return walk->status == STATUS_OK;
}

static bool visit(void *user, const char *key, uint64_t size) {
  Walk *walk = user;
  char id[ID_LENGTH + 1];
  uint32_t number = 0;
  const char *rest = parse(key + strlen(walk->own), id, &number);
  if (!rest) {
    stray(walk, key);
    return true;
  }
  if (!walk->attempt || strcmp(walk->attempt->checkpoint_id, id) != 0 || walk->attempt->attempt != number) {
    walk->status = close_attempt(walk, walk->err);
    if (walk->status != STATUS_OK || (strcmp(walk->checkpoint, id) != 0 && !begin_checkpoint(walk, id)))
      return false;
    open_attempt(walk, id, number);
  }
  walk->attempt->objects++;
  walk->attempt->bytes += (int64_t)size;
  note(walk, key, rest);
  return true;
}

static bool note_any(void *user, const char *key, uint64_t size) {
  (void)key, (void)size;
  *(bool *)user = true;
  return false;
}

/* Nothing of this database may be right; nothing at all hardly is. */
static Status check_there(Repository *repository, Error *err) {
  bool any = false;
  Status status = repository_list(repository, "", note_any, &any, err);
  if (status != STATUS_OK || any)
    return status;
  error_set(err, ERR_UNAVAILABLE, "the repository (%s) holds nothing at all", repository_description(repository));
  error_remedy(err, "See that the repository is mounted, and the one that checkpoints were stored in.");
  return err->status;
}

Status inventory_page(const StoredPlace *place, const char *database, const char *after, const InventoryBounds *bounds,
                      const InventoryWatch *watch, Pgseal__InventoryPage **out, Error *err) {
  if (!text_name_valid(database) || (*after && !id_valid(after)))
    return error_set(err, ERR_PROTOCOL, "the coordinator did not say of what there should be an inventory");
  CLEANUP_FREE char *own = memory_format("%s/", database);
  CLEANUP_FREE char *behind = *after ? memory_format("%s%s0", own, after) : NULL; /* '0' is the next behind '/' */
  CLEANUP(release) Walk walk = {.own = own, .watch = watch, .room = {.place = place, .bounds = bounds}, .err = err};
  walk.page = memory_alloc(sizeof *walk.page);
  pgseal__inventory_page__init(walk.page);
  Status status = repository_list_after(place->repository, own, behind, visit, &walk, err);
  if (status == STATUS_OK)
    status = walk.status;
  if (status == STATUS_OK)
    status = close_attempt(&walk, err);
  if (status == STATUS_OK && !*after && walk.page->n_attempts == 0 && walk.page->strays == 0)
    status = check_there(place->repository, err);
  if (status == STATUS_OK)
    *out = STEAL(walk.page);
  return status;
}

/* ---- the job ---- */

static Status check(void *user, uint64_t checkpoints, Error *err) {
  const JobContext *context = user;
  Pgseal__JobProgress progress = PGSEAL__JOB_PROGRESS__INIT;
  progress.phase = (char *)"reading";
  progress.tables_done = (int64_t)checkpoints;
  job_progress(context, &progress, false);
  return job_check(context, err);
}

static void close_repository(Repository **repository) {
  repository_close(*repository);
}

static void free_key(DecryptionKey **key) {
  decryption_key_free(*key);
}

Status inventory_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(close_repository) Repository *repository = NULL;
  CLEANUP(free_key) DecryptionKey *key = NULL;
  const AgentConfig *config = context->config;
  const InventoryWatch watch = {check, (void *)context};
  if (!config->can_drill || !context->job->inventory)
    return error_set(err, ERR_PROTOCOL, "an inventory is for agents that drill, and says where it begins");
  Status status = agent_config_repository(config, &repository, err);
  if (status == STATUS_OK)
    status = decryption_key_load(config->decryption_key, config->decryption_certificate, &key, err);
  if (status != STATUS_OK)
    return status;
  const StoredPlace place = {repository, key};
  return inventory_page(&place, context->job->database, context->job->inventory->after, &inventory_bounds, &watch,
                        &result->inventory, err);
}
