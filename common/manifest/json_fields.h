/* Typed reads out of hostile JSON objects. Internal to common/manifest. Each returns false if the field is missing or
 * wrong; *out is then as it was. Any thread. */
#ifndef PGSEAL_COMMON_MANIFEST_JSON_FIELDS_H
#define PGSEAL_COMMON_MANIFEST_JSON_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

bool field_text(const json_t *object, const char *key, char **out);     /* newly allocated; no NUL inside */
bool field_number(const json_t *object, const char *key, int64_t *out); /* >= 0 */
bool field_int(const json_t *object, const char *key, int *out);        /* 0..INT_MAX */
bool field_hex(const json_t *object, const char *key, char *out,
               size_t characters);        /* lower-case hex; out has one more */
bool field_version(const json_t *object); /* "version" is 1 */
bool field_is_hex(const json_t *value, size_t characters);

/* A new string. Text from the source database may be in any encoding: what is not UTF-8 is shown with '?'. NULL is "".
 */
json_t *field_from_text(const char *text);

#endif
