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
