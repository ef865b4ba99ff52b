/* The hash chain of events, the same for every backend. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/manifest/chain.h"

enum { VERIFY_WHOLE_LIMIT = 100000, VERIFY_END_EVENTS = 10000, CHAIN_PAGE = 1000 };
enum { CANONICAL = JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY };

static void json_release(json_t **json) {
  json_decref(*json);
}

static Status set_text(json_t *object, const char *key, const char *value, Error *err) {
  if (value && json_object_set_new(object, key, json_string(value)) != 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "the event's %s is not valid UTF-8", key);
  return STATUS_OK;
}

static Status event_hash(const LedgerEvent *event, const char *previous, char hash[LEDGER_HASH_SIZE], Error *err) {
  CLEANUP(json_release) json_t *object = json_object();
  const char *const keys[] = {"actor", "agent", "checkpoint", "database", "job", "kind"};
  const char *const values[] = {event->actor,    event->agent,  event->checkpoint_id,
                                event->database, event->job_id, event->kind};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    Status status = set_text(object, keys[i], values[i], err);
    if (status != STATUS_OK)
      return status;
  }
  json_object_set_new(object, "sequence", json_integer(event->sequence));
  json_object_set_new(object, "time_us", json_integer(event->time_us));
  if (event->detail)
    json_object_set(object, "detail", event->detail);
  return chain_hash(object, previous, hash, err);
}

static Status append(Ledger *ledger, LedgerEvent *event, Error *err) {
  LedgerTip tip;
  Status status = ledger_tip_get(ledger, &tip, err);
  if (status != STATUS_OK)
    return status;
  LedgerEvent next = *event;
  next.sequence = tip.sequence + 1;
  next.time_us = clock_wall_us();
  status = event_hash(&next, tip.hash, next.hash, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *detail = next.detail ? json_dumps(next.detail, CANONICAL) : NULL;
  if (next.detail && !detail)
    return error_set(err, ERR_INTERNAL, "an event's detail could not be written as JSON");
  status = ledger_event_insert(ledger, &next, detail, err);
  if (status != STATUS_OK)
    return status;
  ledger->moved = ledger->moved || tip.sequence != ledger->seen;
  ledger->seen = next.sequence;
  *event = next;
  return STATUS_OK;
}

Status ledger_moved(Ledger *ledger, bool *moved, Error *err) {
  LedgerTip tip;
  Status status = ledger_tip_get(ledger, &tip, err);
  if (status != STATUS_OK)
    return status;
  *moved = ledger->moved || tip.sequence != ledger->seen;
  ledger->seen = tip.sequence;
  ledger->moved = false;
  return STATUS_OK;
}

Status ledger_event_append(Ledger *ledger, LedgerEvent *event, Error *err) {
  if (ledger->ops->in_transaction(ledger->driver))
    return append(ledger, event, err);
  LedgerEvent next = *event; /* the row and the tip, or neither */
  Status status = ledger_begin(ledger, err);
  if (status == STATUS_OK)
    status = append(ledger, &next, err);
  if (status == STATUS_OK)
    status = ledger_commit(ledger, err);
  else
    ledger_rollback(ledger);
  if (status == STATUS_OK)
    *event = next;
  return status;
}

typedef struct EventList {
  LedgerEvent *items;
  size_t count;
} EventList;

static Status list_event(void *user, LedgerEvent *event, Error *err) {
  (void)err;
  EventList *list = user;
  ARRAY_PUSH(list->items, list->count, *event);
  memset(event, 0, sizeof *event); /* the list has it now */
  return STATUS_OK;
}

Status ledger_event_list(Ledger *ledger, const EventFilter *filter, LedgerEvent **items, size_t *count, Error *err) {
  EventList list = {0};
  Status status = ledger_event_walk(ledger, filter, list_event, &list, err);
  if (status != STATUS_OK) {
    ledger_event_list_free(list.items, list.count);
    return status;
  }
  *items = list.items;
  *count = list.count;
  return STATUS_OK;
}

typedef struct ChainWalk {
  LedgerTip at; /* the last event seen */
  bool trusted; /* at.hash is known (false: the first event seen only tells where to go on from) */
  int64_t events;
} ChainWalk;

static Status check_event(void *user, LedgerEvent *event, Error *err) {
  ChainWalk *walk = user;
  bool first = !walk->trusted;
  if (!first) {
    char hash[LEDGER_HASH_SIZE];
    Status status = event_hash(event, walk->at.hash, hash, err);
    if (status != STATUS_OK)
      return status;
    if (event->sequence != walk->at.sequence + 1 || strcmp(hash, event->hash) != 0) {
      error_set(err, ERR_CONFLICT,
                "the ledger's chain is broken at event %lld (%s): it was altered after it was written",
                (long long)(walk->at.sequence + 1), event->kind);
      error_remedy(err, "Restore the ledger file from a backup, and find out who could write to it.");
      return ERR_CONFLICT;
    }
    walk->events++;
  }
  walk->trusted = true;
  walk->at.sequence = event->sequence;
  memcpy(walk->at.hash, event->hash, sizeof walk->at.hash);
  return STATUS_OK;
}

/* Events after `after`, a page at a time: a chain is longer than memory. */
static Status walk_pages(Ledger *ledger, int64_t after, ChainWalk *walk, Error *err) {
  for (EventFilter page = {.after = after, .limit = CHAIN_PAGE};;) {
    Status status = ledger_event_walk(ledger, &page, check_event, walk, err);
    if (status != STATUS_OK || walk->at.sequence < page.after + CHAIN_PAGE)
      return status;
    page.after = walk->at.sequence;
  }
}

static Status check_from(Ledger *ledger, int64_t after, int64_t *events, char tip[LEDGER_HASH_SIZE], Error *err) {
  LedgerTip expected;
  ChainWalk walk = {.trusted = after == 0, .at.sequence = after == 0 ? 0 : after - 1}; /* one earlier, for its hash */
  memcpy(walk.at.hash, chain_start, sizeof walk.at.hash);
  int64_t before;
  do { /* it may grow meanwhile */
    before = walk.at.sequence;
    Status status = ledger_tip_get(ledger, &expected, err);
    if (status == STATUS_OK)
      status = walk_pages(ledger, before, &walk, err);
    if (status != STATUS_OK)
      return status;
  } while (walk.at.sequence > expected.sequence && walk.at.sequence > before);
  if (walk.at.sequence != expected.sequence || strcmp(walk.at.hash, expected.hash) != 0) {
    error_set(err, ERR_CONFLICT, "the ledger's chain is broken: its last event is %lld, but %lld were written",
              (long long)walk.at.sequence, (long long)expected.sequence);
    error_remedy(err, "Restore the ledger file from a backup, and find out who could write to it.");
    return ERR_CONFLICT;
  }
  *events = walk.events;
  memcpy(tip, walk.at.hash, LEDGER_HASH_SIZE);
  return STATUS_OK;
}

Status ledger_chain_check_end(Ledger *ledger, Error *err) {
  LedgerTip tip;
  Status status = ledger_tip_get(ledger, &tip, err);
  if (status != STATUS_OK)
    return status;
  int64_t events;
  char hash[LEDGER_HASH_SIZE];
  return check_from(ledger, tip.sequence < VERIFY_WHOLE_LIMIT ? 0 : tip.sequence - VERIFY_END_EVENTS, &events, hash,
                    err);
}

Status ledger_chain_verify(Ledger *ledger, int64_t *events, char tip[65], Error *err) {
  return check_from(ledger, 0, events, tip, err);
}

Status ledger_chain_step(Ledger *ledger, LedgerWalk *at, int limit, bool *end, Error *err) {
  LedgerTip tip;
  ChainWalk walk = {.trusted = true, .at.sequence = at->sequence};
  memcpy(walk.at.hash, at->sequence ? at->hash : chain_start, sizeof walk.at.hash);
  const EventFilter page = {.after = at->sequence, .limit = limit};
  Status status = ledger_tip_get(ledger, &tip, err); /* first: it may grow meanwhile */
  if (status == STATUS_OK)
    status = ledger_event_walk(ledger, &page, check_event, &walk, err);
  if (status != STATUS_OK)
    return status;
  if (walk.at.sequence < tip.sequence && walk.events < limit) {
    error_set(err, ERR_CONFLICT, "the ledger's chain is broken: its last event is %lld, but %lld were written",
              (long long)walk.at.sequence, (long long)tip.sequence);
    error_remedy(err, "Restore the ledger file from a backup, and find out who could write to it.");
    return ERR_CONFLICT;
  }
  *end = walk.at.sequence >= tip.sequence;
  at->sequence = *end ? 0 : walk.at.sequence;
  memcpy(at->hash, *end ? chain_start : walk.at.hash, sizeof at->hash);
  return STATUS_OK;
}
