/* docs/configuration.md against the code: that its tables have each key of a schema, and no other, with its type; that
 * ranges, words and defaults are what the loader of that file takes and gives. */
#ifndef PGSEAL_TESTS_UNIT_COMMON_CONFIG_REFERENCE_H
#define PGSEAL_TESTS_UNIT_COMMON_CONFIG_REFERENCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <cyaml/cyaml.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

typedef struct ReferenceRow {
  char *key, *value, *fallback; /* without the backticks of key */
} ReferenceRow;

typedef struct Reference {
  ReferenceRow *rows;
  size_t count;
} Reference;

/* What the loader of a file makes of a text. `fallbacks` is asked after a text that names nothing but what it has to.
 */
typedef struct ReferenceFile {
  const char *name; /* of its section */
  const cyaml_schema_value_t *schema;
  const char *base; /* JSON, which is YAML: valid, with every section that has something required in it */
  Status (*load)(void *user, const char *text, Error *err);
  char *(*fallback)(void *user, const char *key); /* what is loaded, of a key; new string; NULL: it cannot be asked */
  void *user;
} ReferenceFile;

static inline char *cell(const char **at) {
  const char *from = *at + strspn(*at, " "), *end = from;
  while (strncmp(end, " |", 2) != 0)
    assert_true(*end && *end++ != '\n');
  *at = end + 2;
  return memory_strndup(from, (size_t)(end - from));
}

static inline const char *next_line(const char *at) {
  at += strcspn(at, "\n");
  return *at ? at + 1 : at;
}

static inline Reference reference_read(const char *section) {
  Reference reference = {0};
  Error err;
  CLEANUP_FREE char *text = NULL;
  CLEANUP_FREE char *path =
      memory_format("%.*sdocs/configuration.md", (int)(strstr(__FILE__, "tests/unit/") - __FILE__), __FILE__);
  assert_int_equal(file_read_text(path, 1 << 20, &text, &err), STATUS_OK);
  CLEANUP_FREE char *title = memory_format("\n## %s\n", section);
  const char *at = strstr(text, title);
  assert_non_null(at);
  for (at = next_line(at + 1); *at && strncmp(at, "## ", 3) != 0; at = next_line(at)) {
    if (strncmp(at, "| `", 3) != 0)
      continue;
    const char *rest = at + 1;
    ReferenceRow row = {0};
    CLEANUP_FREE char *key = cell(&rest);
    row.key = memory_strndup(key + 1, strlen(key) - 2);
    row.value = cell(&rest);
    row.fallback = cell(&rest);
    ARRAY_PUSH(reference.rows, reference.count, row);
  }
  assert_true(reference.count > 0);
  return reference;
}

static inline void reference_release(Reference *reference) {
  for (size_t i = 0; i < reference->count; i++) {
    free(reference->rows[i].key);
    free(reference->rows[i].value);
    free(reference->rows[i].fallback);
  }
  free(reference->rows);
}

static inline const ReferenceRow *reference_row(const Reference *reference, const char *key) {
  for (size_t i = 0; i < reference->count; i++)
    if (strcmp(reference->rows[i].key, key) == 0)
      return &reference->rows[i];
  return NULL;
}

/* ---- the schema ---- */

static inline bool starts(const char *text, const char *with) {
  return strncmp(text, with, strlen(with)) == 0;
}

static inline bool is_of_type(const char *value, enum cyaml_type type) {
  switch (type) {
  case CYAML_INT:
    return starts(value, "integer");
  case CYAML_ENUM: /* of the words for booleans */
    return strcmp(value, "boolean") == 0;
  case CYAML_SEQUENCE:
    return starts(value, "list of ");
  case CYAML_STRING:
    return strcmp(value, "text") == 0 || strcmp(value, "path") == 0 || strcmp(value, "URL") == 0 ||
           strcmp(value, "duration") == 0 || starts(value, "one of `");
  default:
    return false;
  }
}

/* Returns how many keys there are. */
static inline size_t walk_schema(const Reference *reference, const cyaml_schema_field_t *fields, const char *prefix) {
  size_t count = 0;
  for (; fields->key; fields++) {
    const cyaml_schema_value_t *value = &fields->value;
    CLEANUP_FREE char *key = memory_format("%s%s", prefix, fields->key);
    const cyaml_schema_field_t *inner = value->type == CYAML_MAPPING ? value->mapping.fields
                                        : value->type == CYAML_SEQUENCE && value->sequence.entry->type == CYAML_MAPPING
                                            ? value->sequence.entry->mapping.fields
                                            : NULL;
    if (inner) {
      CLEANUP_FREE char *deeper = memory_format("%s%s.", key, value->type == CYAML_SEQUENCE ? "[]" : "");
      count += walk_schema(reference, inner, deeper);
      continue;
    }
    const ReferenceRow *row = reference_row(reference, key);
    if (!row)
      fail_msg("docs/configuration.md lacks %s", key);
    if (!is_of_type(row->value, value->type))
      fail_msg("docs/configuration.md: %s is no %s", key, row->value);
    if ((strcmp(row->fallback, "required") == 0) != !(value->flags & CYAML_FLAG_OPTIONAL))
      fail_msg("docs/configuration.md: whether %s is required is not what it says", key);
    count++;
  }
  return count;
}

/* ---- what the loader takes ---- */

/* The base with one value more: makes the sections and entries on the way. Takes value. */
static inline char *with_value(const char *base, const char *key, json_t *value) {
  json_t *root = json_loads(base, 0, NULL), *at = root;
  assert_non_null(root);
  CLEANUP_FREE char *path = memory_strdup(key);
  char *rest = path, *part;
  while ((part = strsep(&rest, "."))) {
    size_t length = strlen(part);
    bool list = length > 2 && strcmp(part + length - 2, "[]") == 0;
    if (list)
      part[length - 2] = 0;
    if (!rest) {
      json_object_set_new(at, part, value);
      break;
    }
    json_t *next = json_object_get(at, part);
    if (!next) {
      next = list ? json_pack("[{}]") : json_object();
      json_object_set_new(at, part, next);
    }
    at = list ? json_array_get(next, 0) : next;
  }
  char *text = json_dumps(root, JSON_INDENT(1));
  json_decref(root);
  return text;
}

/* Takes value. */
static inline void try(const ReferenceFile *file, const char *key, json_t *value, bool good) {
  Error err = {0};
  CLEANUP_FREE char *text = with_value(file->base, key, value);
  Status status = file->load(file->user, text, &err);
  if (good ? status != STATUS_OK && strstr(err.message, "must be") : status != ERR_CONFIG)
    fail_msg("docs/configuration.md: %s: %s: %s\n%s", key, good ? "refused" : "taken", err.message, text);
}

/* Each of `a`, `b`, ... in a text. */
static inline void try_words(const ReferenceFile *file, const ReferenceRow *row, bool list) {
  size_t words = 0;
  for (const char *at = strchr(row->value, '`'); at; at = strchr(at, '`'), words++) {
    CLEANUP_FREE char *word = memory_strndup(at + 1, strcspn(at + 1, "`"));
    at += strlen(word) + 2;
    if (!list)
      try(file, row->key, json_string(word), true);
    Error err = {0};
    CLEANUP_FREE char *text = with_value(file->base, row->key, json_pack("[s]", word));
    if (list && file->load(file->user, text, &err) != STATUS_OK && strstr(err.message, "unknown"))
      fail_msg("docs/configuration.md: %s: %s is unknown", row->key, word);
  }
  if (words > 0)
    try(file, row->key, list ? json_pack("[s]", "nonsense") : json_string("nonsense"), false);
}

static inline void try_row(const ReferenceFile *file, const ReferenceRow *row) {
  if (starts(row->value, "integer, ")) {
    char *end;
    long low = strtol(row->value + 9, &end, 10);
    assert_true(starts(end, " to "));
    long high = strtol(end + 4, NULL, 10);
    try(file, row->key, json_integer(low), true);
    try(file, row->key, json_integer(high), true);
    try(file, row->key, json_integer(low - 1), false);
    try(file, row->key, json_integer(high + 1), false);
  } else if (strcmp(row->value, "integer") == 0) {
    fail_msg("docs/configuration.md: %s has no range", row->key);
  } else if (strcmp(row->value, "boolean") == 0) {
    try(file, row->key, json_true(), true);
    try(file, row->key, json_string("nonsense"), false);
  } else if (strcmp(row->value, "duration") == 0) {
    try(file, row->key, json_string("12h"), true);
    try(file, row->key, json_string("nonsense"), false);
  } else {
    try_words(file, row, starts(row->value, "list of "));
  }
}

static inline void check_fallbacks(const ReferenceFile *file, const Reference *reference) {
  Error err = {0};
  if (file->load(file->user, file->base, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  for (size_t i = 0; i < reference->count; i++) {
    const ReferenceRow *row = &reference->rows[i];
    CLEANUP_FREE char *is = file->fallback(file->user, row->key);
    if (row->fallback[0] != '`') {
      if (is)
        fail_msg("docs/configuration.md: the default of %s is `%s`", row->key, is);
      continue;
    }
    CLEANUP_FREE char *said = memory_strndup(row->fallback + 1, strlen(row->fallback) - 2);
    if (!is || strcmp(is, said) != 0)
      fail_msg("docs/configuration.md: the default of %s is %s", row->key, is ? is : "not known to the test");
  }
}

static inline void reference_check(const ReferenceFile *file) {
  Reference reference = reference_read(file->name);
  assert_int_equal(walk_schema(&reference, file->schema->mapping.fields, ""), reference.count);
  check_fallbacks(file, &reference);
  for (size_t i = 0; i < reference.count; i++)
    try_row(file, &reference.rows[i]);
  reference_release(&reference);
}

static inline char *number_text(int64_t value) {
  return memory_format("%lld", (long long)value);
}
static inline char *bool_text(bool value) {
  return memory_strdup(value ? "true" : "false");
}

#endif
