/* The overview: every database in the scope, with what is known of it right now. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { OVERVIEW_LIMIT = 100000, PIECE = 16 << 10 };

void api_show_overview(Api *api, Overview *overview) {
  api->overview = overview;
}

static json_t *tenths(double value) {
  return json_real(round(value * 10) / 10);
}

static json_t *known(int64_t seconds) {
  return seconds >= 0 ? json_integer((json_int_t)seconds) : json_null();
}

static json_t *objective(int64_t seconds) {
  return seconds > 0 ? json_integer((json_int_t)seconds) : json_null();
}

static json_t *render_newest(const LedgerNewest *newest) {
  return newest
             ? json_pack("{s:s, s:o, s:s, s:o, s:o, s:o, s:o}", "id", newest->id, "tag", render_text(newest->tag),
                         "state", checkpoint_state_name(newest->state), "restore_drill",
                         render_text(newest->restore_drill), "created_at", render_time(newest->created_us),
                         "finished_at", render_time(newest->finished_us), "error_code", render_text(newest->error_code))
             : json_null();
}

/* What was rebuilt out of a repository does not know all of it. */
static json_t *unless_unknown(double seconds) {
  return seconds > 0 ? tenths(seconds) : json_null();
}

static json_t *render_sealed(const LedgerNewest *newest) {
  if (!newest || !newest->sealed_id)
    return json_null();
  return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:i, s:o, s:o, s:o}", "id", newest->sealed_id,
                   "tag", render_text(newest->sealed_tag), "created_at", render_time(newest->sealed_created_us),
                   "sealed_at", render_time(newest->sealed_us), "proven_at", render_time(newest->proven_us),
                   "size_bytes", (json_int_t)newest->size_bytes, "archive_bytes", (json_int_t)newest->archive_bytes,
                   "tables", (json_int_t)newest->tables, "rows", (json_int_t)newest->rows, "omissions",
                   (json_int_t)newest->omissions, "server_major", newest->server_major, "seconds",
                   tenths(newest->seconds), "dump_seconds", unless_unknown(newest->dump_seconds), "drill_seconds",
                   unless_unknown(newest->drill_seconds));
}

static json_t *render_attention(unsigned attention) {
  json_t *list = json_array();
  for (int i = 0; i < OVERVIEW_ATTENTIONS; i++)
    if (attention & 1u << i)
      json_array_append_new(list, json_string(overview_attention_name((OverviewAttention)(1u << i))));
  return list;
}

/* silenced: by database. */
static json_t *render_row(Api *api, const OverviewRow *row, const json_t *silenced) {
  const ConfigDatabase *database = &row->database->config;
  json_t *quiet = json_object_get(silenced, database->name);
  json_t *json = json_pack(
      "{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "database", database->name,
      "environment", database->environment, "owner", database->owner, "restore_approval", database->restore_approval,
      "attention", render_attention(row->attention), "newest", render_newest(row->newest), "sealed",
      render_sealed(row->newest), "failures", (json_int_t)(row->newest ? row->newest->failures : 0),
      "proof_age_seconds", known(row->proof_age_seconds), "proof_age_objective_seconds",
      objective(row->proof_age_objective_seconds), "data_age_seconds", known(row->data_age_seconds),
      "data_loss_objective_seconds", objective(row->data_loss_objective_seconds), "restore_objective_seconds",
      objective(row->restore_objective_seconds), "next_run_at", render_time(row->next_run_us), "cordoned",
      row->cordoned ? render_held(api, HOLD_DATABASE, database->name) : json_null());
  json_object_set(json, "silenced", quiet ? quiet : json_null());
  return json;
}

/* What needs attention first: by the weightiest reason, then by how many there are. */
static int by_attention(const void *a, const void *b) {
  const OverviewRow *left = *(const OverviewRow *const *)a, *right = *(const OverviewRow *const *)b;
  unsigned of_left = left->attention, of_right = right->attention;
  unsigned most_left = of_left & (0u - of_left), most_right = of_right & (0u - of_right);
  if (most_left != most_right)
    return !most_right || (most_left && most_left < most_right) ? -1 : 1;
  int count_left = __builtin_popcount(of_left), count_right = __builtin_popcount(of_right);
  if (count_left != count_right)
    return count_left > count_right ? -1 : 1;
  return strcmp(left->database->config.name, right->database->config.name);
}

static Status ask_order(Request *request, bool *attention_first, Error *err) {
  const char *order = query_text(request, "order");
  *attention_first = order && strcmp(order, "attention") == 0;
  if (order && !*attention_first && strcmp(order, "name") != 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "order is 'name' or 'attention'");
  return STATUS_OK;
}

static json_t *count_attention(const OverviewRow *const *rows, size_t count) {
  json_t *counts = json_object();
  size_t any = 0;
  for (size_t i = 0; i < count; i++)
    any += rows[i]->attention != 0;
  json_object_set_new(counts, "databases", json_integer((json_int_t)count));
  json_object_set_new(counts, "any", json_integer((json_int_t)any));
  for (int bit = 0; bit < OVERVIEW_ATTENTIONS; bit++) {
    size_t with = 0;
    for (size_t i = 0; i < count; i++)
      with += (rows[i]->attention & 1u << bit) != 0;
    json_object_set_new(counts, overview_attention_name((OverviewAttention)(1u << bit)),
                        json_integer((json_int_t)with));
  }
  return counts;
}

static bool retains(void *user, const FleetDatabase *database) {
  return database->policy.retains && scope_sees(user, database->config.name);
}

/* ---- the answer, piece by piece: a row is of the moment in which it is written ---- */

typedef struct Showing {
  Api *api;
  json_t *attention, *silenced;
  size_t unpruned;
  char **names; /* of those to show; owned */
  size_t count, next;
  bool begun, some /* row is written */, ended;
} Showing;

static void end_showing(void *user) {
  Showing *showing = user;
  for (size_t i = 0; i < showing->count; i++)
    free(showing->names[i]);
  free(showing->names);
  json_decref(showing->attention);
  json_decref(showing->silenced);
  free(showing);
}

/* Takes json. */
static void append_json(Buffer *out, json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
  buffer_append_text(out, text ? text : "null");
  free(text);
  json_decref(json);
}

static bool next_rows(void *user, Buffer *out) {
  Showing *showing = user;
  size_t enough = out->size + PIECE;
  if (!showing->begun) {
    buffer_append_text(out, "{\"attention\":");
    append_json(out, json_incref(showing->attention));
    buffer_append_format(out, ",\"unpruned\":%zu,\"databases\":[", showing->unpruned);
    showing->begun = true;
  }
  for (; showing->next < showing->count && out->size < enough; showing->next++) {
    OverviewRow row;
    if (!overview_row(showing->api->overview, showing->names[showing->next], &row))
      continue; /* it was taken out of the fleet meanwhile */
    if (showing->some)
      buffer_append_byte(out, ',');
    append_json(out, render_row(showing->api, &row, showing->silenced));
    showing->some = true;
  }
  if (showing->next == showing->count && !showing->ended) {
    buffer_append_text(out, "]}\n");
    showing->ended = true;
  }
  return !showing->ended;
}

/* In their order, as far as they are wanted. *shown: all in the scope, freed by the caller. */
static Status choose(Request *request, const OverviewRow ***shown, size_t *seen, size_t *wanted, Error *err) {
  const OverviewRow *rows = NULL;
  size_t count = 0;
  int64_t limit = 0;
  bool attention_first = false;
  const char *name = query_text(request, "database");
  Status status = query_number(request, "limit", OVERVIEW_LIMIT, 1, OVERVIEW_LIMIT, &limit, err);
  if (!status)
    status = ask_order(request, &attention_first, err);
  if (!status && request->api->overview)
    status = overview_read(request->api->overview, &rows, &count, err);
  if (status)
    return status;
  *shown = memory_alloc((count + 1) * sizeof **shown);
  *seen = 0;
  for (size_t i = 0; i < count; i++) {
    const char *database = rows[i].database->config.name;
    if (scope_sees(&request->scope, database) && (!name || strcmp(name, database) == 0))
      (*shown)[(*seen)++] = &rows[i];
  }
  if (attention_first)
    qsort(*shown, *seen, sizeof **shown, by_attention);
  *wanted = *seen < (size_t)limit ? *seen : (size_t)limit;
  return STATUS_OK;
}

/* What of each database is silenced, the newest; of databases alone. *out: new reference. */
static Status silenced_of(Request *request, json_t **out, Error *err) {
  const Requester who = scope_requester(request);
  json_t *list = NULL, *one;
  size_t index;
  Status status = request->api->alerts ? alerts_silences(request->api->alerts, false, &who, &list, err) : STATUS_OK;
  *out = json_object();
  json_array_foreach(list, index, one) {
    const char *database = json_string_value(json_object_get(one, "database"));
    if (database && !json_object_get(*out, database) && !json_is_true(json_object_get(one, "acknowledged")))
      json_object_set(*out, database, one);
  }
  json_decref(list);
  return status;
}

enum MHD_Result overview_show(Request *request) {
  CLEANUP_FREE const OverviewRow **shown = NULL;
  size_t seen = 0, wanted = 0;
  Error err;
  json_t *silenced = NULL;
  if (choose(request, &shown, &seen, &wanted, &err) != STATUS_OK ||
      silenced_of(request, &silenced, &err) != STATUS_OK) {
    json_decref(silenced);
    return respond_failure(request, &err);
  }
  Showing *showing = memory_alloc(sizeof *showing);
  *showing =
      (Showing){.api = request->api, .attention = count_attention(shown, seen), .silenced = silenced, .count = wanted};
  showing->unpruned = dispatch_without_taker(request->api->dispatch, LEDGER_JOB_PRUNE, retains, &request->scope);
  showing->names = memory_alloc((wanted + 1) * sizeof *showing->names);
  for (size_t i = 0; i < wanted; i++)
    showing->names[i] = memory_strdup(shown[i]->database->config.name);
  return respond_pieces(request, "application/json", next_rows, end_showing, showing);
}
