/* Which databases a token is for: globs, matched here with text_glob and in the ledger by its backend. */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/api/internal.h"

enum { GLOBS_LIMIT = 100, GLOB_SIZE_LIMIT = 63 };

/* What is in the ledger and cannot be understood is for no database at all. */
void scope_load(Scope *scope, const char *text) {
  *scope = (Scope){0};
  if (!text)
    return;
  scope->globs = json_loads(text, 0, NULL);
  if (!json_is_array(scope->globs)) {
    json_decref(scope->globs);
    scope->globs = json_array();
    text = "[]";
  }
  scope->text = memory_strdup(text);
}

void scope_copy(Scope *scope, const Scope *from) {
  *scope = (Scope){.text = from->text ? memory_strdup(from->text) : NULL, .globs = json_incref(from->globs)};
}

void scope_release(Scope *scope) {
  free(scope->text);
  json_decref(scope->globs);
  *scope = (Scope){0};
}

bool scope_sees(const void *user, const char *database) {
  const Scope *scope = user;
  if (!scope->text)
    return true;
  size_t index;
  const json_t *glob;
  json_array_foreach(scope->globs, index, glob) {
    const char *pattern = json_string_value(glob);
    if (pattern && database && text_glob(pattern, database))
      return true;
  }
  return false;
}

/* No brackets and no backslash: the backends differ in them, and a name has neither. */
static bool glob_valid(const char *glob) {
  size_t length = glob ? strlen(glob) : 0;
  return length > 0 && length <= GLOB_SIZE_LIMIT && strspn(glob, "abcdefghijklmnopqrstuvwxyz0123456789._-*?") == length;
}

Status scope_from_wish(const json_t *given, char **text, Error *err) {
  bool all = !given;
  size_t index;
  const json_t *glob;
  if (given && (!json_is_array(given) || json_array_size(given) == 0 || json_array_size(given) > GLOBS_LIMIT))
    return error_set(err, ERR_INVALID_ARGUMENT, "\"databases\" must be a list of 1 to %d globs, such as [\"prod-*\"]",
                     GLOBS_LIMIT);
  json_array_foreach(given, index, glob) {
    const char *pattern = json_string_value(glob);
    if (!glob_valid(pattern))
      return error_set(err, ERR_INVALID_ARGUMENT,
                       "each of \"databases\" must be a name with '*' and '?' for what may vary, such as prod-*");
    all |= strcmp(pattern, "*") == 0;
  }
  *text = all ? NULL : json_dumps(given, JSON_COMPACT);
  return STATUS_OK;
}

Requester scope_requester(const Request *request) {
  return (Requester){.name = request->actor,
                     .person = *request->person ? request->person : NULL,
                     .address = request->address,
                     .sees = scope_sees,
                     .user = &request->scope};
}
