/* Names and statements are in the database's own encoding; requests and reports are UTF-8. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/recovery.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/postgres/convert.h"

/* New; NULL: it cannot be said in the other encoding. */
static char *convert(RecoveryRun *run, const char *text, const char *from, const char *to) {
  char *converted = NULL;
  if (run->live.session_count > 0)
    postgres_convert(run->live.sessions[0], from, to, &text, 1, &(PostgresWatch){recovery_check_hook, run}, &converted);
  return converted;
}

json_t *recovery_text(RecoveryRun *run, const char *text) {
  const char *encoding = run->live.source.encoding;
  CLEANUP_FREE char *utf8 = postgres_text_is_utf8(text, encoding) ? NULL : convert(run, text, encoding, "UTF8");
  json_t *json = json_string(utf8 ? utf8 : text);
  if (json)
    return json;
  size_t size = 3 * strlen(text) + 1;
  CLEANUP_FREE char *clean = memory_alloc(size);
  return json_string(text_clean(text, clean, size));
}

json_t *recovery_texts(RecoveryRun *run, const StatementList *list) {
  json_t *array = json_array();
  for (size_t i = 0; i < list->count; i++)
    json_array_append_new(array, recovery_text(run, list->items[i]));
  return array;
}

/* ---- the request's names, as the archive has them ---- */

/* What cannot be said in the archive's encoding is the name of nothing in it, and stays. */
void recovery_patterns_learn(RecoveryRun *run) {
  static const char *const members[] = {"tables", "columns", "digests", "rows"};
  const char *own =
      run->manifest.encoding && *run->manifest.encoding ? run->manifest.encoding : run->live.source.encoding;
  const json_t *item;
  size_t index;
  for (size_t i = 0; i < ARRAY_SIZE(members); i++)
    json_array_foreach(json_object_get(run->request, members[i]), index, item) {
      const char *text = json_string_value(item);
      char *converted = text && !postgres_text_is_utf8(text, own) ? convert(run, text, "UTF8", own) : NULL;
      RecoveryName name = {text, converted};
      if (converted)
        ARRAY_PUSH(run->names, run->name_count, name);
    }
}

void recovery_names_release(RecoveryRun *run) {
  for (size_t i = 0; i < run->name_count; i++)
    free(run->names[i].own);
  free(run->names);
}

static const char *own_name(const RecoveryRun *run, const char *text) {
  for (size_t i = 0; i < run->name_count; i++)
    if (strcmp(run->names[i].utf8, text) == 0)
      return run->names[i].own;
  return text;
}

const char **recovery_patterns(const RecoveryRun *run, const char *member, size_t *count) {
  const json_t *list = json_object_get(run->request, member), *item;
  const char **patterns = NULL;
  size_t index;
  *count = 0;
  json_array_foreach(list, index, item) {
    const char *text = json_string_value(item);
    if (text)
      ARRAY_PUSH(patterns, *count, own_name(run, text));
  }
  return patterns;
}
