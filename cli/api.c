#include "cli/api.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/http.h"
#include "cli/shown.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

#define API_DEFAULT_URL "http://127.0.0.1:8420"
enum { API_TOKEN_LIMIT = 4096, POLL_MS = 250 };

void api_release(json_t **json) {
  json_decref(*json);
  *json = NULL;
}

static Status api_read_token(Cli *cli, Error *err) {
  const char *environment = getenv("PGSEAL_TOKEN"),
             *file = cli->token_file ? cli->token_file : getenv("PGSEAL_TOKEN_FILE");
  if (!cli->token_file && environment && *environment) {
    cli->token = memory_strdup(environment);
    return STATUS_OK;
  }
  if (!file || !*file)
    return STATUS_OK; /* the coordinator says what is missing */
  return file_read_text(file, API_TOKEN_LIMIT, &cli->token, err);
}

/* As the coordinator wants `http_unencrypted: true` before it listens there. */
static Status api_check_secrecy(const Cli *cli, const char *url, Error *err) {
  const char *environment = getenv("PGSEAL_UNENCRYPTED");
  if (!cli->token || !http_is_overheard(url) || cli->unencrypted || (environment && strcmp(environment, "1") == 0))
    return STATUS_OK;
  error_set(err, ERR_INVALID_ARGUMENT, "the token is not shown over plain HTTP to another machine, as '%s' wants", url);
  error_remedy(err, "Use https:// (`tls` in coordinator.yaml, or a reverse proxy); or, where the network itself "
                    "encrypts, say --unencrypted, or PGSEAL_UNENCRYPTED=1.");
  error_object(err, "%s", url);
  return err->status;
}

Status api_connect(Cli *cli, Error *err) {
  if (cli->http)
    return STATUS_OK;
  const char *environment = getenv("PGSEAL_URL");
  const char *url = cli->url ? cli->url : environment && *environment ? environment : API_DEFAULT_URL;
  Status status = cli->token ? STATUS_OK : api_read_token(cli, err);
  if (status != STATUS_OK)
    return status;
  status = api_check_secrecy(cli, url, err);
  if (status != STATUS_OK)
    return status;
  const char *ca_file = cli->ca_file ? cli->ca_file : getenv("PGSEAL_CA_FILE");
  return http_open(url, cli->token, ca_file && *ca_file ? ca_file : NULL, &cli->http, err);
}

Status api_call(Cli *cli, const char *method, const char *path, const json_t *body, const char *idempotency_key,
                json_t **json, Error *err) {
  Status status = api_connect(cli, err);
  if (status != STATUS_OK)
    return status;
  HttpRequest request = {.method = method, .path = path, .body = body, .idempotency_key = idempotency_key};
  status = http_call(cli->http, &request, json, err);
  if (status == STATUS_OK && !cli->json)
    shown_json(*json); /* what others wrote (tags, messages) is not to steer this terminal */
  return status;
}

Status api_put_text(Cli *cli, const char *path, const Buffer *text, const char *type, json_t **json, Error *err) {
  Status status = api_connect(cli, err);
  if (status != STATUS_OK)
    return status;
  HttpRequest request = {.method = "PUT", .path = path, .text = text, .type = type};
  status = http_call(cli->http, &request, json, err);
  if (status == STATUS_OK && !cli->json)
    shown_json(*json); /* what others wrote (tags, messages) is not to steer this terminal */
  return status;
}

Status api_get(Cli *cli, json_t **json, Error *err, const char *path_format, ...) {
  va_list args;
  va_start(args, path_format);
  char *path = NULL;
  int size = vasprintf(&path, path_format, args);
  va_end(args);
  if (size < 0)
    return error_set(err, ERR_NO_MEMORY, "out of memory");
  Status status = api_call(cli, "GET", path, NULL, NULL, json, err);
  free(path);
  return status;
}

Status api_databases(Cli *cli, json_t **json, Error *err) {
  CLEANUP(api_release) json_t *all = NULL;
  CLEANUP_FREE char *after = NULL;
  Status status = api_get(cli, &all, err, "/api/v1/databases");
  while (status == STATUS_OK && *api_text(all, "next")) {
    CLEANUP(api_release) json_t *page = NULL;
    free(after);
    after = http_escape(api_text(all, "next"));
    json_object_del(all, "next");
    status = api_get(cli, &page, err, "/api/v1/databases?after=%s", after);
    if (status != STATUS_OK || json_array_size(json_object_get(page, "databases")) == 0)
      break;
    json_array_extend(json_object_get(all, "databases"), json_object_get(page, "databases"));
    json_object_set(all, "next", json_object_get(page, "next"));
  }
  if (status == STATUS_OK)
    *json = STEAL(all);
  return status;
}

static Status api_checkpoint_by_tag(Cli *cli, const char *tag, const char *database, json_t **json, Error *err) {
  CLEANUP_FREE char *escaped = http_escape(tag);
  CLEANUP_FREE char *where = http_escape(database ? database : "");
  CLEANUP(api_release) json_t *list = NULL;
  Status status =
      api_get(cli, &list, err, "/api/v1/checkpoints?limit=1&tag=%s%s%s", escaped, database ? "&database=" : "", where);
  if (status != STATUS_OK)
    return status;
  const char *id = api_text(json_array_get(json_object_get(list, "checkpoints"), 0), "id");
  if (!*id) {
    error_set(err, ERR_NOT_FOUND, "there is no checkpoint with the id or tag '%s'%s%s", tag,
              database ? " of database " : "", database ? database : "");
    error_remedy(err, "`pgseal ledger` lists the checkpoints.");
    error_object(err, "%s", tag);
    return err->status;
  }
  CLEANUP_FREE char *escaped_id = http_escape(id);
  return api_get(cli, json, err, "/api/v1/checkpoints/%s", escaped_id);
}

Status api_checkpoint(Cli *cli, const char *id_or_tag, const char *database, json_t **json, Error *err) {
  if (id_valid(id_or_tag)) { /* but a tag may look like one */
    Status status = api_get(cli, json, err, "/api/v1/checkpoints/%s", id_or_tag);
    if (status != ERR_NOT_FOUND)
      return status;
  }
  return api_checkpoint_by_tag(cli, id_or_tag, database, json, err);
}

Status api_notification(Cli *cli, const char *id, int seconds, json_t **json, Error *err) {
  for (int64_t end_us = clock_monotonic_us() + (int64_t)seconds * 1000000;;) {
    CLEANUP(api_release) json_t *now = NULL;
    Status status = api_get(cli, &now, err, "/api/v1/notifications/%s", id);
    if (status != STATUS_OK)
      return status;
    if (strcmp(api_text(now, "state"), "due") != 0) {
      *json = STEAL(now);
      return STATUS_OK;
    }
    if (clock_monotonic_us() > end_us)
      return error_set(err, ERR_TIMEOUT, "message %s is not sent after %d seconds; is a coordinator leading?", id,
                       seconds);
    nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
  }
}

const char *api_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

int64_t api_integer(const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  if (json_is_integer(value))
    return json_integer_value(value);
  double number = json_real_value(value); /* 0 if it is no number at all */
  return number > -9e15 && number < 9e15 ? (int64_t)number : 0;
}

double api_number(const json_t *object, const char *key) {
  return json_number_value(json_object_get(object, key));
}

bool api_true(const json_t *object, const char *key) {
  return json_is_true(json_object_get(object, key));
}

json_t *api_list(const OptionList *list) {
  json_t *json = json_array();
  for (size_t i = 0; i < list->count; i++)
    json_array_append_new(json, json_string(list->items[i]));
  return json;
}

void api_suggest_database(Cli *cli, const char *name, Error *err) {
  Error ignored;
  CLEANUP(api_release) json_t *json = NULL;
  if (err->status != ERR_NOT_FOUND || api_databases(cli, &json, &ignored) != STATUS_OK)
    return;
  const json_t *databases = json_object_get(json, "databases"), *database;
  CLEANUP_FREE const char **names = memory_alloc((json_array_size(databases) + 1) * sizeof *names);
  size_t index, count = 0;
  json_array_foreach(databases, index, database) {
    names[count++] = api_text(database, "name");
  }
  const char *nearest = options_nearest(name, names, count);
  if (nearest)
    error_remedy(err, "Did you mean %s? `pgseal databases` lists them all.", nearest);
}
