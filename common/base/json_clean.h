/* Texts of JSON that somebody else wrote. */
#ifndef PGSEAL_COMMON_BASE_JSON_CLEAN_H
#define PGSEAL_COMMON_BASE_JSON_CLEAN_H

#include <jansson.h>

/* Every string in it, but no key: as text_clean does it, line by line, so that line breaks stay. Twice is as once. NULL
 * is fine. */
void json_clean(json_t *json);

#endif
