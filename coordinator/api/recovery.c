/* Plans, restores and rehearsals: what a body may ask for, by a table; and the jobs that come of it. */
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/api/internal.h"

enum {
  IDEMPOTENCY_KEY_LIMIT = 200,
  LIST_MOST = 1000,
  NAMES_MOST = 1024, /* as many as archive_pattern_parse takes */
  NAME_MOST = 300,
  TEXT_MOST = 128,
  IDENTIFIER_MOST = 63,
  FINDING_MOST = 32,
  FINDINGS_MOST = 16,
  NONCE_LEAST = 16,
  DAY = 86400
};

static void free_json(json_t **json) {
  json_decref(*json);
}

/* ---- bodies ---- */

typedef enum Shape {
  SHAPE_TEXT,       /* printable, such as a tag */
  SHAPE_FLAG,       /* true or false */
  SHAPE_NAMES,      /* a list of names or globs of tables or columns */
  SHAPE_IDENTIFIER, /* a name as PostgreSQL knows it */
  SHAPE_JOB,        /* an id of a job */
  SHAPE_DIGEST,     /* SHA-256, in hexadecimal digits */
  SHAPE_PERCENT,    /* more than 0, at most 100 */
  SHAPE_MODE,
  SHAPE_KEYS,
  SHAPE_PURPOSE,
  SHAPE_FILES,   /* SQL: a list of {name, text} */
  SHAPE_SECONDS, /* whole, up to a day */
  SHAPE_MEGABYTES,
  SHAPE_FINDINGS, /* a list of kinds of findings, by their names */
  SHAPE_NONCE,
  SHAPE_TIME
} Shape;

enum {
  IN_PLACE = 1,
  BESIDE = 2,
  SCRIPT = 4,
  NEW_DATABASE = 8,
  RESTORE = IN_PLACE | BESIDE | SCRIPT | NEW_DATABASE,
  PLAN = 16,
  REHEARSAL = 32,
  ANY = RESTORE | PLAN | REHEARSAL
};

static const struct {
  const char *name;
  unsigned mode;
} modes[] = {{"in_place", IN_PLACE}, {"beside", BESIDE}, {"script", SCRIPT}, {"new_database", NEW_DATABASE}};

typedef struct Member {
  const char *name;
  Shape shape;
  unsigned modes, needed; /* in which it may be, and has to be */
} Member;

static const Member members[] = {
    {"database", SHAPE_TEXT, ANY, ANY},
    {"checkpoint", SHAPE_TEXT, ANY, 0},
    {"tables", SHAPE_NAMES, PLAN | IN_PLACE | BESIDE, IN_PLACE | BESIDE},
    {"digests", SHAPE_NAMES, PLAN | REHEARSAL, 0},
    {"rows", SHAPE_NAMES, PLAN | REHEARSAL, 0},
    {"purpose", SHAPE_PURPOSE, PLAN, 0},
    {"threshold_percent", SHAPE_PERCENT, PLAN | REHEARSAL, 0},
    {"sql", SHAPE_FILES, REHEARSAL, 0},
    {"tunnel", SHAPE_FLAG, REHEARSAL, 0},
    {"keep_seconds", SHAPE_SECONDS, REHEARSAL, 0},
    {"role", SHAPE_IDENTIFIER, REHEARSAL, 0},
    {"lock_seconds", SHAPE_SECONDS, REHEARSAL, 0},
    {"slow_seconds", SHAPE_SECONDS, REHEARSAL, 0},
    {"rewrite_mb", SHAPE_MEGABYTES, REHEARSAL, 0},
    {"allow", SHAPE_FINDINGS, REHEARSAL, 0},
    {"nonce", SHAPE_NONCE, REHEARSAL, REHEARSAL},
    {"time", SHAPE_TIME, REHEARSAL, REHEARSAL},
    {"mac", SHAPE_DIGEST, REHEARSAL, REHEARSAL},
    {"mode", SHAPE_MODE, RESTORE, RESTORE},
    {"replace", SHAPE_FLAG, IN_PLACE | BESIDE | NEW_DATABASE, 0},
    {"foreign_keys", SHAPE_KEYS, IN_PLACE, 0},
    {"columns", SHAPE_NAMES, BESIDE, 0},
    {"roles", SHAPE_FLAG, NEW_DATABASE, 0},
    {"target_name", SHAPE_IDENTIFIER, NEW_DATABASE, NEW_DATABASE},
    {"script_of", SHAPE_JOB, SCRIPT, SCRIPT},
    {"script_sha256", SHAPE_DIGEST, SCRIPT, SCRIPT},
    {"other_database", SHAPE_FLAG, IN_PLACE | BESIDE | SCRIPT, 0},
    {"confirm", SHAPE_TEXT, RESTORE, 0},
    {"unproven", SHAPE_FLAG, RESTORE, 0},
};

/* No control characters: it goes into messages, and into the SQL of an agent, which quotes it. */
static bool name_valid(const json_t *value, size_t most) {
  const char *text = json_string_value(value);
  size_t length = text ? strlen(text) : 0;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
      return false;
  return length > 0 && length <= most;
}

/* Of tables and columns: PostgreSQL allows all but a zero byte in their names. */
static bool names_valid(const json_t *value) {
  size_t index, count = json_array_size(value);
  const json_t *item;
  json_array_foreach(value, index, item) {
    size_t size = json_string_length(item);
    if (size < 1 || size > NAMES_MOST || strlen(json_string_value(item)) != size)
      return false;
  }
  return count >= 1 && count <= LIST_MOST;
}

static bool findings_valid(const json_t *value) {
  size_t index, count = json_array_size(value);
  const json_t *item;
  json_array_foreach(value, index, item) {
    const char *text = json_string_value(item);
    if (!text || !*text || strlen(text) > FINDING_MOST || strspn(text, "abcdefghijklmnopqrstuvwxyz_") != strlen(text))
      return false;
  }
  return count >= 1 && count <= FINDINGS_MOST;
}

/* An SQL text holds line breaks; no zero byte, which would end it early. */
static bool files_valid(const json_t *value) {
  size_t index, count = json_array_size(value);
  const json_t *item;
  json_array_foreach(value, index, item) {
    const json_t *text = json_object_get(item, "text");
    if (json_object_size(item) != 2 || !name_valid(json_object_get(item, "name"), NAME_MOST) || !json_is_string(text) ||
        strlen(json_string_value(text)) != json_string_length(text))
      return false;
  }
  return count >= 1 && count <= LIST_MOST;
}

static bool between(const json_t *value, json_int_t low, json_int_t high) {
  return json_is_integer(value) && json_integer_value(value) >= low && json_integer_value(value) <= high;
}

static unsigned mode_of(const json_t *value) {
  const char *text = json_string_value(value);
  for (size_t i = 0; text && i < ARRAY_SIZE(modes); i++)
    if (strcmp(modes[i].name, text) == 0)
      return modes[i].mode;
  return 0;
}

static bool digest_valid(const char *text) {
  return text && strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

/* NULL if it is of this shape; else what it should be. */
static const char *wrong_shape(Shape shape, const json_t *value) {
  const char *text = json_string_value(value);
  switch (shape) {
  case SHAPE_TEXT:
    return text && text_tag_valid(text) ? NULL : "1 to 128 bytes of printable text";
  case SHAPE_FLAG:
    return json_is_boolean(value) ? NULL : "true or false";
  case SHAPE_NAMES:
    return names_valid(value) ? NULL : "a list of 1 to 1000 names, each of at most 1024 bytes";
  case SHAPE_IDENTIFIER:
    return name_valid(value, IDENTIFIER_MOST) ? NULL : "a name of 1 to 63 bytes";
  case SHAPE_JOB:
    return text && id_valid(text) ? NULL : "the id of a job";
  case SHAPE_DIGEST:
    return digest_valid(text) ? NULL : "64 hexadecimal digits, lower case";
  case SHAPE_PERCENT:
    return json_is_number(value) && json_number_value(value) > 0 && json_number_value(value) <= 100
               ? NULL
               : "a number above 0, up to 100";
  case SHAPE_MODE:
    return mode_of(value) ? NULL : "in_place, beside, script or new_database";
  case SHAPE_KEYS:
    return text && (strcmp(text, "validate") == 0 || strcmp(text, "not_valid") == 0) ? NULL
                                                                                     : "\"validate\" or \"not_valid\"";
  case SHAPE_PURPOSE:
    return text && strcmp(text, "guard") == 0 ? NULL : "\"guard\", or left out";
  case SHAPE_FILES:
    return files_valid(value) ? NULL : "a list of 1 to 1000 objects of \"name\" and \"text\"";
  case SHAPE_SECONDS:
    return between(value, 0, DAY) ? NULL : "whole seconds, up to a day";
  case SHAPE_MEGABYTES:
    return between(value, 0, INT32_MAX) ? NULL : "whole MB";
  case SHAPE_FINDINGS:
    return findings_valid(value) ? NULL : "a list of kinds of findings, such as [\"lock\"]";
  case SHAPE_NONCE:
    return text && text_tag_valid(text) && strlen(text) >= NONCE_LEAST ? NULL : "16 to 128 bytes of random text";
  case SHAPE_TIME:
    return between(value, 0, INT64_MAX) ? NULL : "seconds since 1970";
  }
  return "something else";
}

static Status check_member(const Member *member, const json_t *value, unsigned mode, const char *mode_name,
                           Error *err) {
  if (!value) {
    if (!(member->needed & mode))
      return STATUS_OK;
    return error_set(err, ERR_INVALID_ARGUMENT, "the body must have \"%s\"%s%s", member->name,
                     *mode_name ? " with mode " : "", mode_name);
  }
  if (!(member->modes & mode))
    return error_set(err, ERR_INVALID_ARGUMENT, "\"%s\" does not go with mode %s", member->name, mode_name);
  const char *wrong = wrong_shape(member->shape, value);
  return wrong ? error_set(err, ERR_INVALID_ARGUMENT, "\"%s\" must be %s", member->name, wrong) : STATUS_OK;
}

static Status check_body(const json_t *body, LedgerJobKind kind, Error *err) {
  const char *known[ARRAY_SIZE(members)];
  size_t count = 0;
  unsigned all = kind == LEDGER_JOB_PLAN ? PLAN : kind == LEDGER_JOB_REHEARSE ? REHEARSAL : RESTORE;
  for (size_t i = 0; i < ARRAY_SIZE(members); i++)
    if (members[i].modes & all)
      known[count++] = members[i].name;
  Status status = query_members(body, known, count, err);
  if (status)
    return status;
  const json_t *given = json_object_get(body, "mode");
  unsigned mode = all == RESTORE ? mode_of(given) : all;
  if (!mode)
    return error_set(err, ERR_INVALID_ARGUMENT, "\"mode\" must be %s", wrong_shape(SHAPE_MODE, NULL));
  const char *mode_name = all == RESTORE ? json_string_value(given) : "";
  for (size_t i = 0; i < ARRAY_SIZE(members) && !status; i++)
    if (members[i].modes & all)
      status = check_member(&members[i], json_object_get(body, members[i].name), mode, mode_name, err);
  bool tunnel = json_is_true(json_object_get(body, "tunnel"));
  if (!status && all == REHEARSAL && tunnel == (json_object_get(body, "sql") != NULL))
    status = error_set(err, ERR_INVALID_ARGUMENT, "the body must have either \"sql\" or \"tunnel\": true");
  return status;
}

/* ---- answers ---- */

/* A whole job, new reference. report: reference stolen, or NULL. */
static json_t *render_whole(Api *api, const LedgerJob *job, json_t *report) {
  json_t *json = render_job(job);
  render_wait(api, job, json);
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error ignored; /* then it has no tag to show */
  const ConfigDatabase *database = fleet_config(dispatch_fleet(api->dispatch), job->database);
  bool found =
      job->checkpoint_id && ledger_checkpoint_get(api->ledger, job->checkpoint_id, &checkpoint, &ignored) == STATUS_OK;
  json_object_set_new(json, "tag", render_text(found ? checkpoint.tag : NULL));
  json_object_set_new(json, "environment", render_text(database ? database->environment : ""));
  json_object_set_new(json, "requested_by", render_text(job->requested_by));
  json_object_set_new(json, "approval", render_text(job->approval));
  json_object_set_new(json, "approved_by", render_text(job->approved_by));
  json_object_set_new(json, "request", job->request ? dispatch_told(job->request) : json_null());
  json_object_set_new(json, "report", report ? report : json_null());
  return json;
}

static enum MHD_Result create(Request *request, LedgerJobKind kind) {
  CLEANUP(free_json) json_t *body = NULL;
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  const char *key = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Idempotency-Key");
  const Requester requester = scope_requester(request);
  bool joined = false;
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = check_body(body, kind, &err);
  if (!status && key && (!*key || strlen(key) > IDEMPOTENCY_KEY_LIMIT))
    status =
        error_set(&err, ERR_INVALID_ARGUMENT, "Idempotency-Key must have 1 to %d characters", IDEMPOTENCY_KEY_LIMIT);
  if (!status)
    status = dispatch_request_recovery(request->api->dispatch, kind, body, &requester, key, &job, &joined, &err);
  if (status)
    return respond_failure(request, &err);
  CLEANUP_FREE char *location = memory_format("/api/v1/jobs/%s", job.id);
  json_t *json = render_whole(request->api, &job, NULL);
  json_object_set_new(json, "ok", json_true());
  return respond_json_location(request, MHD_HTTP_ACCEPTED, json, location);
}

enum MHD_Result plan_create(Request *request) {
  return create(request, LEDGER_JOB_PLAN);
}

enum MHD_Result restore_create(Request *request) {
  return create(request, LEDGER_JOB_RESTORE);
}

enum MHD_Result rehearsal_create(Request *request) {
  return create(request, LEDGER_JOB_REHEARSE);
}

/* ---- the jobs ---- */

/* What the token may not see does not exist. */
static Status find(Request *request, LedgerJob *job, Error *err) {
  Status status = ledger_job_get(request->api->ledger, request->arg, job, err);
  if (status || scope_sees(&request->scope, job->database))
    return status;
  error_set(err, ERR_NOT_FOUND, "there is no job %s", request->arg);
  error_object(err, "%s", request->arg);
  return ERR_NOT_FOUND;
}

static enum MHD_Result show(Request *request, unsigned http) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  json_t *report = NULL;
  Error err;
  Status status = find(request, &job, &err);
  if (!status)
    status = ledger_job_report_get(request->api->ledger, job.id, &report, &err);
  return status ? respond_failure(request, &err)
                : respond_json(request, http, render_whole(request->api, &job, report));
}

enum MHD_Result jobs_show(Request *request) {
  return show(request, MHD_HTTP_OK);
}

enum MHD_Result jobs_list(Request *request) {
  LedgerJob *items = NULL;
  size_t count = 0;
  int64_t limit = 0;
  Error err;
  LedgerJobKind kind = LEDGER_JOB_DUMP;
  const char *kind_name = query_text(request, "kind");
  Status status = query_number(request, "limit", API_LIST_DEFAULT, 1, API_LIST_LIMIT, &limit, &err);
  if (!status && kind_name && !ledger_job_kind_from_name(kind_name, &kind))
    status = error_set(&err, ERR_INVALID_ARGUMENT,
                       "\"kind\" must be dump, drill, plan, restore, rehearse, prune, inventory or trial");
  const JobFilter filter = {.database = query_text(request, "database"),
                            .kind = kind_name ? (int)kind : 0,
                            .scope = request->scope.text,
                            .limit = (int)limit};
  if (!status)
    status = ledger_job_recent(request->api->ledger, &filter, &items, &count, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++) {
    json_t *json = render_job(&items[i]);
    json_object_set_new(json, "requested_by", render_text(items[i].requested_by));
    json_object_set_new(json, "approval", render_text(items[i].approval));
    json_array_append_new(list, json);
  }
  ledger_job_list_free(items, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "jobs", list));
}

enum MHD_Result jobs_approve(Request *request) {
  const Requester requester = scope_requester(request);
  Error err;
  if (dispatch_approve(request->api->dispatch, request->arg, &requester, &err) != STATUS_OK)
    return respond_failure(request, &err);
  return show(request, MHD_HTTP_OK);
}

/* A plan or a rehearsal is canceled by whoever may ask for one, a restore by operators. */
enum MHD_Result jobs_cancel(Request *request) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  const Requester requester = scope_requester(request);
  Error err;
  Status status = find(request, &job, &err);
  bool asks = job.kind == LEDGER_JOB_PLAN || job.kind == LEDGER_JOB_REHEARSE;
  if (!status && !asks && !(request->role & ROLE_OPERATES))
    status = error_set(&err, ERR_FORBIDDEN, "the token %s may cancel plans and rehearsals, but no %s", request->actor,
                       ledger_job_kind_name(job.kind));
  if (!status)
    status = dispatch_cancel_recovery(request->api->dispatch, job.id, &requester, &err);
  return status ? respond_failure(request, &err) : show(request, MHD_HTTP_ACCEPTED);
}
