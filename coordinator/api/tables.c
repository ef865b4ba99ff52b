/* The tables of a checkpoint, beside those of the sealed one before it. There may be twenty thousand: each list is read
 * in a round of the loop of its own, they are put in order in the next, and written piece by piece. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/manifest/table_list.h"
#include "coordinator/api/internal.h"
#include "coordinator/tables/tables.h"

enum { PIECE = 8 << 10 };

typedef struct Shown { /* in their order, as many as are wanted */
  const TablePair **pairs;
  size_t count, next;
  bool begun;
} Shown;

typedef int Order(const void *a, const void *b);

typedef struct Listing {
  Checkpoint checkpoint, previous; /* previous: its id is NULL if there is none */
  Tables now, before;
  bool known, before_known; /* they were told */
  TablePair *pairs;
  size_t count;
  Shown list, missing; /* that are in this list, or in that of the one before alone */
  Order *order;
  size_t limit;
  bool begun;
} Listing;

static void listing_free(void *user) {
  Listing *listing = user;
  checkpoint_release(&listing->checkpoint);
  checkpoint_release(&listing->previous);
  tables_release(&listing->now);
  tables_release(&listing->before);
  free(listing->pairs);
  free(listing->list.pairs);
  free(listing->missing.pairs);
  free(listing);
}

static Status read_tables(Ledger *ledger, const char *id, Tables *out, bool *known, Error *err) {
  CLEANUP_FREE char *packed = NULL;
  Status status = ledger_tables_get(ledger, id, &packed, err);
  *known = status == STATUS_OK && packed;
  return *known ? tables_unpack(packed, out, err) : status;
}

static Status read_previous(Ledger *ledger, Listing *listing, Error *err) {
  const CheckpointFilter filter = {.database = listing->checkpoint.database,
                                   .state = "sealed",
                                   .before_id = listing->checkpoint.id,
                                   .limit = 1,
                                   .kept = true};
  Checkpoint *items = NULL;
  size_t count = 0;
  Status status = ledger_checkpoint_list(ledger, &filter, &items, &count, err);
  if (status != STATUS_OK || count == 0)
    return status;
  listing->previous = items[0];
  free(items);
  return STATUS_OK;
}

static Status read_listing(Request *request, Listing *listing, Error *err) {
  Ledger *ledger = request->api->ledger;
  Status status = ledger_checkpoint_find(ledger, query_text(request, "database"), request->arg, request->scope.text,
                                         &listing->checkpoint, err);
  if (status == STATUS_OK)
    status = read_tables(ledger, listing->checkpoint.id, &listing->now, &listing->known, err);
  return status == STATUS_OK ? read_previous(ledger, listing, err) : status;
}

/* ---- order ---- */

static const Table *shown(const TablePair *pair) {
  return pair->now ? pair->now : pair->before;
}

static int descending(int64_t left, int64_t right) {
  return (left < right) - (left > right);
}

/* Equal ones stay in the order of their names, which is that of the array. */
static int by_place(const void *a, const void *b) {
  return (a > b) - (a < b);
}

static int by_bytes(const void *a, const void *b) {
  const TablePair *left = *(const TablePair *const *)a, *right = *(const TablePair *const *)b;
  int order = descending(shown(left)->bytes, shown(right)->bytes);
  return order ? order : by_place(left, right);
}

static int by_rows(const void *a, const void *b) {
  const TablePair *left = *(const TablePair *const *)a, *right = *(const TablePair *const *)b;
  int order = descending(shown(left)->rows, shown(right)->rows);
  return order ? order : by_place(left, right);
}

static int64_t moved(const TablePair *pair) {
  int64_t change = (pair->now ? pair->now->rows : 0) - (pair->before ? pair->before->rows : 0);
  return change < 0 ? -change : change;
}

static int by_change(const void *a, const void *b) {
  const TablePair *left = *(const TablePair *const *)a, *right = *(const TablePair *const *)b;
  int order = descending(moved(left), moved(right));
  return order ? order : by_bytes(a, b);
}

static int by_name(const void *a, const void *b) {
  return by_place(*(const TablePair *const *)a, *(const TablePair *const *)b);
}

static Status read_order(Request *request, Order **out, Error *err) {
  static const struct {
    const char *name;
    Order *order;
  } orders[] = {{"bytes", by_bytes}, {"rows", by_rows}, {"change", by_change}, {"name", by_name}};
  const char *wanted = query_text(request, "order");
  for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
    if (!wanted || strcmp(wanted, orders[i].name) == 0) {
      *out = orders[i].order;
      return STATUS_OK;
    }
  return error_set(err, ERR_INVALID_ARGUMENT, "tables are in the order of bytes, rows, change or name, not of \"%s\"",
                   wanted);
}

/* ---- what is shown ---- */

static json_t *render_table(const TablePair *pair, bool compared) {
  const Table *table = shown(pair);
  json_t *json = json_pack("{s:s, s:s, s:I, s:I, s:o}", "schema", table->schema, "name", table->name, "rows",
                           (json_int_t)table->rows, "bytes", (json_int_t)table->bytes, "change",
                           compared ? json_string(table_change_name(pair->change)) : json_null());
  bool both = compared && pair->now && pair->before;
  json_object_set_new(json, "rows_change", both ? json_integer(table->rows - pair->before->rows) : json_null());
  json_object_set_new(json, "bytes_change", both ? json_integer(table->bytes - pair->before->bytes) : json_null());
  return json;
}

static Shown choose(const Listing *listing, bool there, Order *order, size_t limit) {
  Shown shown = {.pairs = memory_alloc((listing->count + 1) * sizeof *shown.pairs)};
  for (size_t i = 0; i < listing->count; i++)
    if (there == (listing->pairs[i].now != NULL))
      shown.pairs[shown.count++] = &listing->pairs[i];
  qsort(shown.pairs, shown.count, sizeof *shown.pairs, order);
  shown.count = shown.count < limit ? shown.count : limit;
  return shown;
}

static json_t *render_changes(const Listing *listing) {
  json_int_t counts[TABLE_UNLISTED + 1] = {0};
  json_t *json = json_object();
  for (size_t i = 0; i < listing->count; i++)
    counts[listing->pairs[i].change]++;
  for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
    json_object_set_new(json, table_change_name((TableChange)i), json_integer(counts[i]));
  return json;
}

static json_t *render_previous(const Listing *listing) {
  const Checkpoint *c = &listing->previous;
  if (!c->id)
    return json_null();
  return json_pack("{s:s, s:o, s:o, s:b, s:I}", "id", c->id, "tag", render_text(c->tag), "created_at",
                   render_time(c->created_us), "known", listing->before_known, "more",
                   (json_int_t)listing->before.more);
}

/* All but the tables. */
static json_t *render_head(const Listing *listing) {
  const Checkpoint *c = &listing->checkpoint;
  bool compared = listing->known && listing->before_known;
  json_t *source = json_object_get(c->detail, "source");
  json_t *json =
      json_pack("{s:s, s:o, s:o, s:s, s:b, s:I, s:I, s:I, s:I}", "id", c->id, "database", render_text(c->database),
                "tag", render_text(c->tag), "state", checkpoint_state_name(c->state), "known", listing->known, "tables",
                (json_int_t)c->tables, "rows", (json_int_t)c->rows, "listed", (json_int_t)listing->now.count, "more",
                (json_int_t)listing->now.more);
  json_object_set_new(json, "source", source ? json_incref(source) : json_null());
  json_object_set_new(json, "pruned_at", render_time(c->pruned_us));
  json_object_set_new(json, "previous", render_previous(listing));
  json_object_set_new(json, "changes", compared ? render_changes(listing) : json_null());
  return json;
}

/* ---- piece by piece ---- */

/* Takes json. */
static void append_json(Buffer *out, json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
  buffer_append_text(out, text ? text : "null");
  free(text);
  json_decref(json);
}

/* True: all of them are written. */
static bool append_tables(const Listing *listing, Shown *shown, const char *name, Buffer *out, size_t enough) {
  if (!shown->begun)
    buffer_append_format(out, ",\"%s\":[", name);
  shown->begun = true;
  for (; shown->next < shown->count && out->size < enough; shown->next++) {
    if (shown->next > 0)
      buffer_append_byte(out, ',');
    append_json(out, render_table(shown->pairs[shown->next], listing->before_known));
  }
  return shown->next == shown->count;
}

static bool next_tables(void *user, Buffer *out) {
  Listing *listing = user;
  size_t enough = out->size + PIECE;
  bool last = listing->list.begun && listing->list.next == listing->list.count;
  if (!listing->begun) {
    append_json(out, render_head(listing));
    out->size--; /* its brace */
    listing->begun = true;
  }
  if (!last) {
    if (append_tables(listing, &listing->list, "list", out, enough))
      buffer_append_byte(out, ']');
    return true;
  }
  if (!append_tables(listing, &listing->missing, "missing", out, enough))
    return true;
  buffer_append_text(out, "]}\n");
  return false;
}

/* ---- its rounds ---- */

void tables_left(Request *request) {
  if (request->listing)
    listing_free(request->listing);
  request->listing = NULL;
}

static enum MHD_Result next_round(Request *request, enum MHD_Result (*answer)(Request *)) {
  request->answer = answer;
  request->phase = PHASE_WAITING;
  request->finished = true;
  request_suspend(request);
  request_resume(request);
  return MHD_YES;
}

static enum MHD_Result show_tables(Request *request) {
  Listing *listing = request->listing;
  request->listing = NULL; /* the answer's */
  if (listing->known)
    tables_compare(listing->before_known ? &listing->before : &listing->now, &listing->now, &listing->pairs,
                   &listing->count);
  listing->list = choose(listing, true, listing->order, listing->limit);
  listing->missing = choose(listing, false, listing->order, listing->limit);
  return respond_pieces(request, "application/json", next_tables, listing_free, listing);
}

static enum MHD_Result read_before(Request *request) {
  Listing *listing = request->listing;
  Error err;
  if (listing->previous.id &&
      read_tables(request->api->ledger, listing->previous.id, &listing->before, &listing->before_known, &err))
    return respond_failure(request, &err);
  return next_round(request, show_tables);
}

enum MHD_Result checkpoint_tables(Request *request) {
  int64_t limit = 0;
  Order *order = NULL;
  Error err;
  Status status = query_number(request, "limit", TABLE_LIST_COUNT, 1, TABLE_LIST_COUNT, &limit, &err);
  if (status == STATUS_OK)
    status = read_order(request, &order, &err);
  if (status != STATUS_OK)
    return respond_failure(request, &err);
  Listing *listing = memory_alloc(sizeof *listing);
  *listing = (Listing){.order = order, .limit = (size_t)limit};
  request->listing = listing;
  if (read_listing(request, listing, &err) != STATUS_OK)
    return respond_failure(request, &err);
  return next_round(request, read_before);
}
