/* Calls of the API as the commands make them, and reading their answers. */
#ifndef PGSEAL_CLI_API_H
#define PGSEAL_CLI_API_H

#include <jansson.h>

#include "cli/cli.h"
#include "common/base/buffer.h"

/* Opens the connection if need be: PGSEAL_URL or --url, and PGSEAL_TOKEN, PGSEAL_TOKEN_FILE or --token-file. */
Status api_connect(Cli *cli, Error *err) MUST_CHECK;

/* As http_call. Control characters in the answer's strings are replaced, unless it will be printed as JSON. */
Status api_get(Cli *cli, json_t **json, Error *err, const char *path_format, ...) PRINTF_LIKE(4, 5) MUST_CHECK;
/* All databases that the token sees, page by page: {"databases": [...]}. */
Status api_databases(Cli *cli, json_t **json, Error *err) MUST_CHECK;
Status api_call(Cli *cli, const char *method, const char *path, const json_t *body, const char *idempotency_key,
                json_t **json, Error *err) MUST_CHECK;

/* The same with a body that is no JSON; type: its media type. */
Status api_put_text(Cli *cli, const char *path, const Buffer *text, const char *type, json_t **json,
                    Error *err) MUST_CHECK;

/* A checkpoint by id, or the newest with that tag (of that database, if not NULL), with its jobs. ERR_NOT_FOUND. */
Status api_checkpoint(Cli *cli, const char *id_or_tag, const char *database, json_t **json, Error *err) MUST_CHECK;

/* Of a database that was not found (err says so), the one that was probably meant becomes the remedy. */
void api_suggest_database(Cli *cli, const char *name, Error *err);

json_t *api_list(const OptionList *list); /* an array of texts; a new reference */
void api_release(json_t **json);          /* for CLEANUP() */

/* Members, with something harmless where they are absent or of another type. Borrowed. */
/* Until a message was sent or given up. ERR_TIMEOUT after that many seconds. *json: the notification. */
Status api_notification(Cli *cli, const char *id, int seconds, json_t **json, Error *err) MUST_CHECK;

const char *api_text(const json_t *object, const char *key);
int64_t api_integer(const json_t *object, const char *key);
double api_number(const json_t *object, const char *key);
bool api_true(const json_t *object, const char *key);

#endif
