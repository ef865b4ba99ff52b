/* A report as a file: its signature. */
#include "common/report/report.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/manifest/manifest.h"

enum { CANONICAL = JSON_COMPACT | JSON_SORT_KEYS };

static void free_json(json_t **json) {
  json_decref(*json);
}

static Status canonical(const json_t *report, char **text, Error *err) {
  *text = json_dumps(report, CANONICAL);
  return *text ? STATUS_OK : error_set(err, ERR_INTERNAL, "the report cannot be written as JSON");
}

Status report_write(json_t *report, const SigningKey *signer, char **text, Error *err) {
  CLEANUP_FREE char *bytes = NULL;
  CLEANUP(free_json) json_t *signature = NULL;
  Status status = canonical(report, &bytes, err);
  if (!status && signer)
    status = document_sign(signer, REPORT_PURPOSE, bytes, strlen(bytes), &signature, err);
  if (status)
    return status;
  CLEANUP_FREE char *signed_by = signature ? json_dumps(signature, CANONICAL) : memory_strdup("null");
  *text = memory_format("{\"report\":%s,\"signature\":%s}\n", bytes, signed_by);
  return STATUS_OK;
}

/* False: its form is none. public_key: or NULL. */
static bool signature_of(const json_t *signature, uint8_t made[SIGNATURE_SIZE], uint8_t *public_key) {
  CLEANUP_FREE char *text = json_dumps(signature, JSON_COMPACT);
  return text && document_signature(text, strlen(text), made, public_key);
}

static Status refuse(Error *err, const char *why) {
  error_set(err, ERR_PROOF_INVALID, "this is no report that can be relied on: %s", why);
  error_remedy(err, "Ask the coordinator for it again, or whoever gave it to you where it is from.");
  return err->status;
}

Status report_read(const char *text, size_t size, ReportFile *out, Error *err) {
  json_error_t where;
  CLEANUP(free_json) json_t *whole = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
  json_t *report = json_object_get(whole, "report"), *signature = json_object_get(whole, "signature");
  *out = (ReportFile){0};
  if (!whole)
    return refuse(err, where.text);
  if (!json_is_object(report) || json_object_size(whole) != 2 ||
      (!json_is_object(signature) && !json_is_null(signature)))
    return refuse(err, "it has not the form of one");
  if (json_integer_value(json_object_get(report, "version")) != REPORT_VERSION) {
    error_set(err, ERR_PROOF_INVALID, "the report is of a version that this pgseal does not know");
    error_remedy(err, "Use a newer pgseal.");
    return err->status;
  }
  uint8_t made[SIGNATURE_SIZE];
  out->named = signature_of(signature, made, out->key);
  out->report = json_incref(report);
  out->signature = json_incref(signature);
  return STATUS_OK;
}

void report_file_release(ReportFile *file) {
  json_decref(file->report);
  json_decref(file->signature);
  *file = (ReportFile){0};
}

Status report_verify(const ReportFile *file, const uint8_t public_key[PUBLIC_KEY_SIZE], Error *err) {
  CLEANUP_FREE char *bytes = NULL;
  uint8_t signature[SIGNATURE_SIZE];
  if (json_is_null(file->signature))
    return refuse(err, "it is not signed (its coordinator has no `signing_key`)");
  if (!signature_of(file->signature, signature, NULL))
    return refuse(err, "its signature is not readable");
  Status status = canonical(file->report, &bytes, err);
  if (status)
    return status;
  return signing_verify(public_key, REPORT_PURPOSE, bytes, strlen(bytes), signature)
             ? STATUS_OK
             : refuse(err, "its signature is not by that key: it was altered, or is another coordinator's");
}
