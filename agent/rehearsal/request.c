#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/archive/script.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { REQUEST_LIMIT = 1 << 20, LOCK_SECONDS = 5, SLOW_SECONDS = 60, REWRITE_MB = 100 };

static Status parse(Rehearsal *rehearsal, Error *err) {
  const Pgseal__RecoverySpec *spec = rehearsal->context->job->recovery;
  json_error_t error;
  if (!spec || spec->dump_public_key.len != PUBLIC_KEY_SIZE)
    return error_set(err, ERR_PROTOCOL, "the coordinator sent no description of the checkpoint with the job");
  if (strlen(spec->request_json) > REQUEST_LIMIT)
    return error_set(err, ERR_PROTOCOL, "the request is larger than %d bytes", REQUEST_LIMIT);
  rehearsal->request.json = json_loads(spec->request_json, JSON_REJECT_DUPLICATES, &error);
  if (!json_is_object(rehearsal->request.json))
    return error_set(err, ERR_PROTOCOL, "the coordinator sent a request that is no JSON object");
  return STATUS_OK;
}

static Status check_secret(Rehearsal *rehearsal, Error *err) {
  const AgentConfig *config = rehearsal->context->config;
  RehearsalRequest *request = &rehearsal->request;
  if (!config->rehearse.secret_file) {
    error_set(err, ERR_CONFIG, "this agent has no secret, so it cannot rehearse");
    error_remedy(err, "Name one in `rehearse.secret_file` of %s.", config->path ? config->path : "agent.yaml");
    return err->status;
  }
  Status status = rehearsal_secret_load(config->rehearse.secret_file, &request->secret, err);
  if (status == STATUS_OK)
    status = rehearsal_request_check(request->secret, request->json, rehearsal->context->job->database, clock_wall_us(),
                                     err);
  return status;
}

/* The coordinator says which checkpoint a tag or id is; it must be one that was meant. */
static Status check_checkpoint(const Rehearsal *rehearsal, Error *err) {
  const Pgseal__Job *job = rehearsal->context->job;
  const char *named = json_string_value(json_object_get(rehearsal->request.json, "checkpoint"));
  if (!named || strcmp(named, job->tag) == 0 || strcmp(named, job->checkpoint_id) == 0)
    return STATUS_OK;
  return error_set(err, ERR_FORBIDDEN, "the rehearsal is refused: it was asked for on checkpoint %s, and this is %s",
                   named, job->checkpoint_id);
}

static Status cannot_run(const RehearsalFile *file, int line, const char *what, Error *err) {
  error_set(err, ERR_INVALID_ARGUMENT, "%s, line %d: %s", file->name, line, what);
  error_remedy(err, "Rehearse it with `--command`: psql itself runs on this side then, and knows what this is.");
  error_object(err, "%s", file->name);
  return err->status;
}

/* Only psql knows its own commands, and where a COPY's rows are. */
static Status check_file(const RehearsalFile *file, Error *err) {
  Script script;
  script_open(&script, file->text, file->size);
  for (ScriptPiece piece; (piece = script_next(&script)) != SCRIPT_END;) {
    if (piece == SCRIPT_COMMAND)
      return cannot_run(file, script.line, "there is one of psql's own commands (it starts with a backslash)", err);
    if (script_copies_inline(script.piece, script.size))
      return cannot_run(file, script.line, "there is a COPY from or to the client", err);
  }
  return STATUS_OK;
}

static Status take_files(Rehearsal *rehearsal, Error *err) {
  RehearsalRequest *request = &rehearsal->request;
  const json_t *list = json_object_get(request->json, "sql"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    const json_t *text = json_object_get(item, "text");
    const char *name = json_string_value(json_object_get(item, "name"));
    if (!name || !json_is_string(text))
      return error_set(err, ERR_PROTOCOL, "a file of the request has no name or no text");
    const RehearsalFile file = {name, json_string_value(text), json_string_length(text)};
    ARRAY_PUSH(request->files, request->file_count, file);
    Status status = check_file(&file, err);
    if (status != STATUS_OK)
      return status;
  }
  request->tunnel = json_is_true(json_object_get(request->json, "tunnel"));
  if (request->tunnel == (request->file_count > 0))
    return error_set(err, ERR_PROTOCOL, "the request has nothing to run, or too much: it is either files or a tunnel");
  return STATUS_OK;
}

static double number(const json_t *json, const char *member, double otherwise) {
  const json_t *value = json_object_get(json, member);
  return json_is_number(value) && json_number_value(value) >= 0 ? json_number_value(value) : otherwise;
}

static void take_limits(Rehearsal *rehearsal) {
  RehearsalRequest *request = &rehearsal->request;
  const int most = rehearsal->context->config->rehearse.keep_seconds;
  const double keep = number(request->json, "keep_seconds", most);
  request->keep_seconds = keep < most ? (int)keep : most;
  request->lock_seconds = number(request->json, "lock_seconds", LOCK_SECONDS);
  request->slow_seconds = number(request->json, "slow_seconds", SLOW_SECONDS);
  request->rewrite_bytes = (int64_t)(number(request->json, "rewrite_mb", REWRITE_MB) * 1e6);
  request->role = json_string_value(json_object_get(request->json, "role"));
}

Status rehearsal_request_take(Rehearsal *rehearsal, Error *err) {
  Status status = parse(rehearsal, err);
  if (status == STATUS_OK)
    status = check_secret(rehearsal, err);
  if (status == STATUS_OK)
    status = check_checkpoint(rehearsal, err);
  if (status != STATUS_OK)
    return status;
  take_limits(rehearsal);
  return take_files(rehearsal, err);
}

void rehearsal_request_release(RehearsalRequest *request) {
  rehearsal_secret_free(request->secret);
  free(request->files);
  json_decref(request->json);
}
