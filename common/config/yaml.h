/*
 * Loads a YAML file by a libcyaml schema: unknown keys and wrong types are ERR_CONFIG with file, line and column.
 * Loop or main thread; the result is plain data, freed by config_yaml_free with the same schema.
 */
#ifndef PGSEAL_COMMON_CONFIG_YAML_H
#define PGSEAL_COMMON_CONFIG_YAML_H

#include <cyaml/cyaml.h>

#include "common/base/error.h"

Status config_yaml_load(const char *path, const cyaml_schema_value_t *schema, void **out, Error *err) MUST_CHECK;
/* The same of a text; name: of where it comes from, for messages. */
Status config_yaml_parse(const char *name, const char *text, size_t size, const cyaml_schema_value_t *schema,
                         void **out, Error *err) MUST_CHECK;
/* A bool, or a `bool *` that stays NULL where the key is not there: true, false, yes, no, on, off in a schema.
 * libcyaml's own booleans take any other text for true. */
extern const cyaml_strval_t config_bool_words[];
enum { CONFIG_BOOL_WORDS = 6 };
#define CONFIG_FIELD_BOOL(key, type, member)                                                                           \
  CYAML_FIELD_ENUM(key, CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT | CYAML_FLAG_CASE_INSENSITIVE, type, member,           \
                   config_bool_words, CONFIG_BOOL_WORDS)
#define CONFIG_FIELD_BOOL_PTR(key, type, member)                                                                       \
  CYAML_FIELD_ENUM_PTR(key,                                                                                            \
                       CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT | CYAML_FLAG_CASE_INSENSITIVE,     \
                       type, member, config_bool_words, CONFIG_BOOL_WORDS)
void config_yaml_free(const cyaml_schema_value_t *schema, void *data); /* NULL is fine */

/* The absolute directory of a file; and a path relative to it. New strings the caller frees. */
char *config_directory(const char *path);
char *config_resolve(const char *directory, const char *path);

/* ERR_CONFIG with "PATH: " before the message. */
Status config_error(Error *err, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);
/* ERR_CONFIG with "PATH:LINE: SECTION.KEY: " before the message; the line where KEY (or, if it is NULL or not there,
 * SECTION) stands in the file, as far as that can be told by looking for it. */
Status config_error_at(Error *err, const char *path, const char *section, const char *key, const char *format, ...)
    PRINTF_LIKE(5, 6);

#endif
