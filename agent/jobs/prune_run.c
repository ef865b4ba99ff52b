#include <stdlib.h>
#include <string.h>

#include "agent/jobs/prune.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { PASSES = 4, LOCKED_SHOWN = 20, ATTEMPT_DIGITS = 9 };
static const int64_t SKEW_US = (int64_t)900 * 1000000; /* that S3 puts up with */

/* In which order they go: versions before what hides them, which would show what it hid. */
typedef enum Turn { TURN_MANIFEST, TURN_MANIFEST_MARK, TURN_OBJECT, TURN_MARK } Turn;

typedef struct Entry {
  char *key, *version; /* version NULL: none are kept */
  uint64_t size;
  bool mark;
  Turn turn;
} Entry;

typedef struct Prune {
  Repository *repository;
  const PruneWatch *watch;
  const char *prefix;
  Entry *entries; /* of the prefix, in their turns; without those that are known to be locked */
  size_t entry_count;
  Entry *locked; /* of all prefixes */
  size_t locked_count;
  int64_t locked_until_us;
  bool whole; /* of any prefix */
  uint64_t objects, bytes, total;
  json_t *shown;
} Prune;

static void free_entries(Entry *entries, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(entries[i].key);
    free(entries[i].version);
  }
  free(entries);
}

static void release(Prune *prune) {
  free_entries(prune->entries, prune->entry_count);
  free_entries(prune->locked, prune->locked_count);
  json_decref(prune->shown);
}

/* ---- what there is ---- */

static bool ends_with(const char *text, const char *end) {
  size_t length = strlen(text), size = strlen(end);
  return length >= size && strcmp(text + length - size, end) == 0;
}

static Turn turn_of(const RepositoryEntry *entry) {
  if (ends_with(entry->key, "/manifest.json.cms"))
    return entry->mark ? TURN_MANIFEST_MARK : TURN_MANIFEST;
  return entry->mark ? TURN_MARK : TURN_OBJECT;
}

static bool same(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool is_locked(const Prune *prune, const RepositoryEntry *entry) {
  for (size_t i = 0; i < prune->locked_count; i++)
    if (strcmp(prune->locked[i].key, entry->key) == 0 && same(prune->locked[i].version, entry->version))
      return true;
  return false;
}

static bool take(void *user, const RepositoryEntry *entry) {
  Prune *prune = user;
  if (strncmp(entry->key, prune->prefix, strlen(prune->prefix)) != 0 || is_locked(prune, entry))
    return true;
  const Entry copy = {.key = memory_strdup(entry->key),
                      .version = entry->version ? memory_strdup(entry->version) : NULL,
                      .size = entry->size,
                      .mark = entry->mark,
                      .turn = turn_of(entry)};
  ARRAY_PUSH(prune->entries, prune->entry_count, copy);
  return true;
}

static int by_turn(const void *a, const void *b) {
  const Entry *x = a, *y = b;
  return x->turn != y->turn ? (x->turn > y->turn) - (x->turn < y->turn) : strcmp(x->key, y->key);
}

static Status look(Prune *prune, Error *err) {
  free_entries(prune->entries, prune->entry_count);
  prune->entries = NULL;
  prune->entry_count = 0;
  Status status = repository_entries(prune->repository, prune->prefix, take, prune, err);
  if (prune->entry_count)
    qsort(prune->entries, prune->entry_count, sizeof *prune->entries, by_turn);
  prune->total = prune->bytes;
  for (size_t i = 0; i < prune->entry_count; i++)
    prune->total += prune->entries[i].size;
  return status;
}

/* ---- taking it away ---- */

static void note_locked(Prune *prune, Entry *entry, int64_t until_us) {
  char text[CLOCK_TEXT_SIZE];
  if (json_array_size(prune->shown) < LOCKED_SHOWN)
    json_array_append_new(prune->shown,
                          json_pack("{s:s, s:s}", "key", entry->key, "until",
                                    until_us == INT64_MAX ? "a legal hold is lifted" : clock_format(until_us, text)));
  if (until_us > prune->locked_until_us)
    prune->locked_until_us = until_us;
  ARRAY_PUSH(prune->locked, prune->locked_count, *entry);
  *entry = (Entry){0};
}

/* Refused: for a lock, or for want of a permission? */
static Status refused(Prune *prune, Entry *entry, const Error *refusal, Error *err) {
  int64_t until_us = 0;
  Error unknown;
  Status status = repository_locked(prune->repository, entry->key, entry->version, &until_us, &unknown);
  if (status == STATUS_OK && until_us > clock_wall_us() - SKEW_US) {
    prune->whole = prune->whole || entry->turn == TURN_MANIFEST;
    note_locked(prune, entry, until_us);
    return STATUS_OK;
  }
  *err = *refusal;
  if (status != STATUS_OK)
    error_remedy(err,
                 "%s If it is locked, this key should be allowed to see that: s3:GetObjectRetention and "
                 "s3:GetObjectLegalHold.",
                 refusal->remedy);
  return err->status;
}

static Status remove_entry(Prune *prune, Entry *entry, Error *err) {
  RepositoryRemoval removal = {.version = entry->version};
  Error failure;
  Status status = repository_remove_as(prune->repository, entry->key, &removal, &failure);
  if (status == ERR_REPOSITORY_REFUSED)
    return refused(prune, entry, &failure, err);
  if (status != STATUS_OK && status != ERR_OBJECT_NOT_FOUND) { /* gone: another attempt of this job took it */
    *err = failure;
    return status;
  }
  prune->bytes += entry->size;
  prune->objects += !entry->mark;
  return STATUS_OK;
}

static Status remove_all(Prune *prune, bool *whole, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; i < prune->entry_count && status == STATUS_OK; i++) {
    bool others = prune->entries[i].turn != TURN_MANIFEST;
    *whole = prune->whole && others;
    if (*whole)
      return STATUS_OK; /* with its manifest it would look as if it could be restored */
    status = prune->watch->check(prune->watch->user, prune->bytes, prune->total, err);
    if (status == STATUS_OK)
      status = remove_entry(prune, &prune->entries[i], err);
  }
  *whole = prune->whole;
  return status;
}

/* Until there is nothing left but what is locked: that it is gone is looked up, not believed. */
static Status prune_prefix(Prune *prune, Error *err) {
  bool whole = false;
  Status status = look(prune, err);
  for (int pass = 0; status == STATUS_OK && prune->entry_count > 0 && !whole; pass++) {
    if (pass == PASSES)
      return error_set(err, ERR_UNAVAILABLE, "there are objects below %s again and again", prune->prefix);
    status = remove_all(prune, &whole, err);
    if (status == STATUS_OK && !whole)
      status = look(prune, err);
  }
  return status;
}

static json_t *report_of(const Prune *prune) {
  return json_pack("{s:I, s:I, s:I, s:O, s:I, s:b}", "objects", (json_int_t)prune->objects, "bytes",
                   (json_int_t)prune->bytes, "kept", (json_int_t)prune->locked_count, "locked", prune->shown,
                   "locked_until_us", (json_int_t)prune->locked_until_us, "whole", prune->whole);
}

Status prune_run(Repository *repository, const char *const *prefixes, size_t count, const PruneWatch *watch,
                 json_t **report, Error *err) {
  CLEANUP(release) Prune prune = {.repository = repository, .watch = watch, .shown = json_array()};
  Status status = STATUS_OK;
  for (size_t i = 0; i < count && status == STATUS_OK && !prune.whole; i++) {
    prune.prefix = prefixes[i];
    status = prune_prefix(&prune, err);
  }
  if (status == STATUS_OK)
    *report = report_of(&prune);
  return status;
}

/* ---- whose it is ---- */

static bool is_attempt(const char *text) {
  static const char word[] = "attempt-";
  if (strncmp(text, word, sizeof word - 1) != 0)
    return false;
  const char *digits = text + sizeof word - 1;
  size_t length = strspn(digits, "0123456789");
  return length > 0 && length <= ATTEMPT_DIGITS && *digits != '0' && strcmp(digits + length, "/") == 0;
}

Status prune_check_prefix(const char *database, const char *checkpoint_id, const char *prefix, Error *err) {
  CLEANUP_FREE char *own = memory_format("%s/%s/", database, checkpoint_id);
  size_t length = strlen(own);
  bool valid = text_name_valid(database) && id_valid(checkpoint_id) && strncmp(prefix, own, length) == 0 &&
               (!prefix[length] || is_attempt(prefix + length));
  return valid ? STATUS_OK
               : error_set(err, ERR_PROTOCOL, "what is to be pruned is not of checkpoint %s of database %s",
                           checkpoint_id, database);
}
