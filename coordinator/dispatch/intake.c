/* What agents send, before it gets anywhere: bounded, valid UTF-8, of the shape it should have. */
#include "coordinator/dispatch/internal.h"

#include <math.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/tables/tables.h"

enum {
  TEXT_LIMIT = 512,
  ITEM_TEXT_LIMIT = 4096,
  NAME_LIMIT = 256,
  STAGES_LIMIT = 64,
  OFFER_LIMIT = 16 << 10,
  VERSION_LIMIT = 128
};

void intake_json_free(json_t **json) {
  json_decref(*json);
}

json_t *intake_text(const char *text, size_t limit) {
  CLEANUP_FREE char *clean = memory_alloc(limit + 1);
  return json_string(text_clean(text ? text : "", clean, limit + 1));
}

/* A role's or database's name goes back to an agent: as it is, or not at all. */
static json_t *intake_name(const char *name) {
  json_t *json = name && strlen(name) <= NAME_LIMIT ? json_string(name) : NULL; /* NULL, too, if it is not UTF-8 */
  return json ? json : json_string("");
}

static json_t *intake_count(int64_t value) {
  return json_integer(value > 0 ? value : 0);
}

void intake_failure(const Pgseal__Failure *failure, Error *out) {
  Status status = failure && failure->code ? error_from_code(failure->code) : STATUS_COUNT;
  if (!failure) {
    error_set(out, ERR_PROTOCOL, "the agent reported a failure without saying which");
  } else if (status == STATUS_COUNT || status == STATUS_OK) {
    error_set(out, ERR_INTERNAL, "%.64s: %s", failure->code, failure->message);
    error_remedy(out, "%s", failure->remedy);
  } else {
    error_set(out, status, "%s", failure->message);
    if (failure->remedy[0])
      error_remedy(out, "%s", failure->remedy);
  }
  if (failure)
    error_object(out, "%s", failure->object);
}

/* For the client of a rehearsal, who checks it: as it is, or not at all. */
static json_t *intake_offer(const Pgseal__TunnelOffer *offer) {
  if (strlen(offer->certificate) > OFFER_LIMIT || strlen(offer->mac) > NAME_LIMIT)
    return json_null();
  json_t *json = json_pack("{s:s, s:s, s:o, s:o, s:I}", "certificate", offer->certificate, "mac", offer->mac, "role",
                           intake_name(offer->role), "database", intake_name(offer->database), "seconds",
                           (json_int_t)offer->seconds);
  return json ? json : json_null();
}

json_t *intake_progress(const Pgseal__JobProgress *progress) {
  json_t *json = json_object();
  if (!progress)
    return json;
  json_object_set_new(json, "phase", intake_text(progress->phase, 32));
  json_object_set_new(json, "tables_done", intake_count(progress->tables_done));
  json_object_set_new(json, "tables_total", intake_count(progress->tables_total));
  json_object_set_new(json, "rows", intake_count(progress->rows));
  json_object_set_new(json, "bytes", intake_count(progress->bytes));
  json_object_set_new(json, "bytes_total", intake_count(progress->bytes_total));
  json_object_set_new(json, "table", intake_text(progress->table, TEXT_LIMIT));
  json_object_set_new(json, "segments", intake_count((int64_t)(progress->segments & INT64_MAX)));
  json_object_set_new(json, "roles_stored", json_boolean(progress->roles_stored));
  json_object_set_new(json, "server_major", json_integer(progress->server_major));
  json_object_set_new(json, "bytes_stored", intake_count(progress->bytes_stored));
  json_object_set_new(json, "bootstrap_role", intake_name(progress->bootstrap_role));
  json_object_set_new(json, "database_name", intake_name(progress->database_name));
  if (progress->tunnel)
    json_object_set_new(json, "tunnel", intake_offer(progress->tunnel));
  return json;
}

/* An item of a list: a text, or an object of texts. New reference; NULL if it is neither. */
static json_t *intake_item(const json_t *item) {
  if (json_is_string(item))
    return intake_text(json_string_value(item), ITEM_TEXT_LIMIT);
  if (!json_is_object(item) || json_object_size(item) > 8)
    return NULL;
  json_t *copy = json_object();
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)item, key, value) {
    if (strlen(key) > 32 || !json_is_string(value)) {
      json_decref(copy);
      return NULL;
    }
    json_object_set_new(copy, key, intake_text(json_string_value(value), ITEM_TEXT_LIMIT));
  }
  return copy;
}

/* Rough upper bound of an item's text; exact enough to keep the list bounded. */
static size_t item_size(const json_t *item) {
  CLEANUP_FREE char *text = json_dumps(item, JSON_COMPACT | JSON_ENCODE_ANY);
  return text ? strlen(text) + 1 : 1;
}

Status intake_list(const char *what, const char *text, json_t **out, Error *err) {
  json_t *list = json_array();
  json_t *given = text && text[0] ? json_loads(text, 0, NULL) : json_array();
  size_t used = 0, count = json_array_size(given);
  bool valid = json_is_array(given);
  for (size_t i = 0; valid && i < count; i++) {
    json_t *item = intake_item(json_array_get(given, i));
    valid = item != NULL;
    used += valid ? item_size(item) : 0;
    if (used > INTAKE_JSON_LIMIT) { /* rather cut and said so than refused: the manifest or proof has them all */
      CLEANUP_FREE char *more =
          memory_format("%zu more; the manifest or proof in the repository lists them", count - i);
      json_decref(item);
      json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "kind", "more", "object", "", "detail", more));
      break;
    }
    if (valid)
      json_array_append_new(list, item);
  }
  json_decref(given);
  if (!valid) {
    json_decref(list);
    return error_set(err, ERR_PROTOCOL, "the agent's list of %s is not valid", what);
  }
  *out = list;
  return STATUS_OK;
}

Status intake_stages(const char *text, json_t **out, Error *err) {
  json_t *given = text && text[0] ? json_loads(text, 0, NULL) : json_object();
  json_t *stages = json_object();
  bool valid = json_is_object(given) && json_object_size(given) <= STAGES_LIMIT;
  const char *key;
  json_t *value;
  if (valid) {
    json_object_foreach(given, key, value) {
      double seconds = json_number_value(value);
      valid = valid && json_is_number(value) && isfinite(seconds) && seconds >= 0 && strlen(key) <= 32;
      if (valid)
        json_object_set(stages, key, value);
    }
  }
  json_decref(given);
  if (!valid) {
    json_decref(stages);
    return error_set(err, ERR_PROTOCOL, "the agent's list of stages is not valid");
  }
  *out = stages;
  return STATUS_OK;
}

Status intake_report(const char *text, json_t **out, Error *err) {
  size_t size = text ? strlen(text) : 0;
  *out = NULL;
  if (size == 0)
    return STATUS_OK;
  if (size > RECOVERY_REPORT_LIMIT)
    return error_set(err, ERR_PROTOCOL, "the agent's report is larger than %d MiB", RECOVERY_REPORT_LIMIT >> 20);
  json_t *report = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
  if (!json_is_object(report)) {
    json_decref(report);
    return error_set(err, ERR_PROTOCOL, "the agent's report is not a JSON object");
  }
  *out = report;
  return STATUS_OK;
}

bool intake_digest_valid(const char *hex) {
  return hex && strlen(hex) == 64 && strspn(hex, "0123456789abcdef") == 64;
}

static json_t *object_in(json_t *parent, const char *key) {
  json_t *child = json_object_get(parent, key);
  if (!json_is_object(child)) {
    child = json_object();
    json_object_set_new(parent, key, child);
  }
  return child;
}

static json_t *source_json(const Pgseal__SourceFacts *source) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "encoding", intake_text(source->encoding, VERSION_LIMIT),
                   "collation_provider", intake_text(source->collation_provider, VERSION_LIMIT), "collation",
                   intake_text(source->collation, VERSION_LIMIT), "collation_version",
                   intake_text(source->collation_version, VERSION_LIMIT), "collation_actual",
                   intake_text(source->collation_actual, VERSION_LIMIT));
}

Status intake_tables(const Pgseal__DumpResult *dump, char **packed, Error *err) {
  CLEANUP(tables_release) Tables tables = {0};
  bool told = false;
  Status status = dump ? tables_take(dump, &tables, &told, err) : STATUS_OK;
  *packed = status == STATUS_OK && told ? tables_pack(&tables) : NULL;
  return status;
}

Status intake_dump(const Pgseal__JobResult *result, Checkpoint *checkpoint, Error *err) {
  const Pgseal__DumpResult *dump = result->dump;
  if (!dump || !intake_digest_valid(dump->manifest_sha256) ||
      (dump->fingerprint_sha256[0] && !intake_digest_valid(dump->fingerprint_sha256)))
    return error_set(err, ERR_PROTOCOL, "the agent's result of the dump has no valid manifest digest");
  if (dump->size_stored < 0 || dump->size_archive < 0 || dump->tables < 0 || dump->rows < 0 || dump->entries < 0 ||
      dump->blobs < 0 || dump->segments > INT32_MAX || dump->server_major > 1000)
    return error_set(err, ERR_PROTOCOL, "the agent's result of the dump holds numbers that cannot be");
  CLEANUP(json_decrefp) json_t *omissions = NULL;
  CLEANUP(json_decrefp) json_t *stages = NULL;
  CLEANUP(json_decrefp) json_t *begun = NULL;
  Status status = intake_list("omissions", dump->omissions_json, &omissions, err);
  if (status == STATUS_OK)
    status = intake_stages(result->stages_json, &stages, err);
  if (status == STATUS_OK)
    status = intake_stages(result->stages_begun_json, &begun, err);
  if (status != STATUS_OK)
    return status;
  text_set(&checkpoint->manifest_sha256, dump->manifest_sha256);
  checkpoint->size_bytes = dump->size_stored;
  checkpoint->archive_bytes = dump->size_archive;
  checkpoint->tables = dump->tables;
  checkpoint->rows = dump->rows;
  checkpoint->server_major = (int)dump->server_major;
  json_t *detail = checkpoint_detail(checkpoint);
  json_object_set(detail, "omissions", omissions);
  json_object_set(object_in(detail, "stages"), "dump", stages);
  json_object_set(object_in(detail, "stages_begun"), "dump", begun);
  json_t *versions = object_in(detail, "versions");
  json_object_set_new(versions, "server", intake_text(dump->server_version, VERSION_LIMIT));
  json_object_set_new(versions, "pg_dump", intake_text(dump->dump_version, VERSION_LIMIT));
  if (dump->source)
    json_object_set_new(detail, "source", source_json(dump->source));
  json_object_set_new(detail, "fingerprint_sha256", json_string(dump->fingerprint_sha256));
  json_object_set_new(detail, "entries", json_integer(dump->entries));
  json_object_set_new(detail, "blobs", json_integer(dump->blobs));
  json_object_set_new(detail, "segments", json_integer((json_int_t)dump->segments));
  return STATUS_OK;
}

Status intake_drill(const Pgseal__JobResult *result, Checkpoint *checkpoint, Error *err) {
  const Pgseal__DrillResult *drill = result->drill;
  if (!drill)
    return STATUS_OK;
  CLEANUP(json_decrefp) json_t *differences = NULL;
  CLEANUP(json_decrefp) json_t *notes = NULL;
  CLEANUP(json_decrefp) json_t *stages = NULL;
  CLEANUP(json_decrefp) json_t *begun = NULL;
  Status status = intake_list("differences", drill->differences_json, &differences, err);
  if (status == STATUS_OK)
    status = intake_list("notes", drill->notes_json, &notes, err);
  if (status == STATUS_OK)
    status = intake_stages(result->stages_json, &stages, err);
  if (status == STATUS_OK)
    status = intake_stages(result->stages_begun_json, &begun, err);
  if (status != STATUS_OK)
    return status;
  json_t *detail = checkpoint_detail(checkpoint);
  json_object_set(detail, "differences", differences);
  json_object_set(detail, "notes", notes);
  json_object_set(object_in(detail, "stages"), "drill", stages);
  json_object_set(object_in(detail, "stages_begun"), "drill", begun);
  json_t *versions = object_in(detail, "versions");
  json_object_set_new(versions, "image", intake_text(drill->image, TEXT_LIMIT));
  json_object_set_new(versions, "engine", intake_text(drill->engine, 64));
  json_object_set_new(versions, "drill_server", intake_text(drill->server_version, 128));
  json_object_set_new(detail, "proof_key", intake_text(drill->proof_key, TEXT_LIMIT));
  return STATUS_OK;
}
