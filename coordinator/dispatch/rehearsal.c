/* Rehearsals: migrations tried on a drilled copy. Their SQL is kept no longer than the job needs it. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"
#include "common/crypto/digest.h"

bool rehearsal_begun(const Dispatch *dispatch, const LedgerJob *job) {
  const Track *track = track_find(dispatch, job->id);
  const json_t *progress = track && track->fencing == job->fencing && track->progress ? track->progress : job->progress;
  const char *phase = json_string_value(json_object_get(progress, "phase"));
  if (job->kind != LEDGER_JOB_REHEARSE || !phase)
    return false;
  return strcmp(phase, "rehearsing") == 0 || json_is_true(json_object_get(progress, "begun"));
}

/* A file's text may hold a password. */
static json_t *file_told(const json_t *file) {
  const json_t *text = json_object_get(file, "text");
  char hex[SHA256_HEX_SIZE];
  if (!json_is_string(text)) /* it is told already */
    return json_deep_copy(file);
  sha256_hex(json_string_value(text), json_string_length(text), hex);
  return json_pack("{s:O, s:I, s:s}", "name", json_object_get(file, "name"), "bytes",
                   (json_int_t)json_string_length(text), "sha256", hex);
}

json_t *dispatch_told(const json_t *request) {
  json_t *told = json_copy((json_t *)request);
  const json_t *files = json_object_get(request, "sql"), *file;
  size_t index;
  if (!files)
    return told;
  json_t *list = json_array();
  json_array_foreach(files, index, file) {
    json_array_append_new(list, file_told(file));
  }
  json_object_set_new(told, "sql", list);
  return told;
}
