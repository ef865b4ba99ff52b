/* A parsed connection string, and the environment it becomes for pg_dump and its relatives. */
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/postgres/connection.h"
#include "common/postgres/conninfo.h"

extern char **environ;

const char *postgres_pinned_options(void) {
  return "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3 -c bytea_output=hex "
         "-c synchronize_seqscans=off";
}

/* What is freed may be a password. */
static void conninfo_free_value(char *value) {
  if (value)
    explicit_bzero(value, strlen(value));
  free(value);
}

static void conninfo_options_free(PQconninfoOption **options) {
  for (PQconninfoOption *o = *options; o && o->keyword; o++)
    if (o->val)
      explicit_bzero(o->val, strlen(o->val));
  PQconninfoFree(*options);
}

void conninfo_free(Conninfo *conninfo) {
  if (!conninfo)
    return;
  for (size_t i = 0; i < conninfo->count; i++) {
    free(conninfo->items[i].key);
    free(conninfo->items[i].variable);
    conninfo_free_value(conninfo->items[i].value);
  }
  free(conninfo->items);
  free(conninfo);
}

static ConninfoItem *conninfo_find(const Conninfo *conninfo, const char *key) {
  for (size_t i = 0; i < conninfo->count; i++)
    if (strcmp(conninfo->items[i].key, key) == 0)
      return &conninfo->items[i];
  return NULL;
}

/* libpq lets PG* variables give what the text leaves out. Taken over once, here, so that libpq and the tools,
 * which get an environment of their own, cannot come to different servers. */
static char *conninfo_default(const PQconninfoOption *option) {
  if (!option->envvar || !*option->envvar || strcmp(option->envvar, "PGCLIENTENCODING") == 0)
    return NULL;
  const char *value = getenv(option->envvar);
  return value && *value ? memory_strdup(value) : NULL;
}

bool conninfo_tells_secret(const char *text) {
  CLEANUP(conninfo_options_free) PQconninfoOption *options = PQconninfoParse(text, NULL);
  bool secret = !options;
  for (const PQconninfoOption *o = options; o && o->keyword; o++)
    secret |= o->val && *o->val && *o->dispchar == '*'; /* as libpq marks what is to be hidden */
  return secret;
}

Status conninfo_parse(const char *text, Conninfo **out, Error *err) {
  char *said = NULL;
  CLEANUP(conninfo_options_free) PQconninfoOption *options = PQconninfoParse(text, &said);
  if (said) { /* may quote the text: not to be shown */
    explicit_bzero(said, strlen(said));
    PQfreemem(said);
  }
  if (!options) {
    error_set(err, ERR_INVALID_ARGUMENT,
              "the connection string is malformed (its text is not shown: it may hold a password)");
    error_remedy(err, "Write it as `host=... port=... dbname=... user=...` or as postgresql://user@host:port/dbname; "
                      "quote values that hold spaces with '...' and escape special characters of a URI with %%XX.");
    return err->status;
  }
  Conninfo *conninfo = memory_alloc(sizeof *conninfo);
  for (const PQconninfoOption *o = options; o->keyword; o++) {
    ConninfoItem item = {.key = memory_strdup(o->keyword), .variable = o->envvar ? memory_strdup(o->envvar) : NULL};
    item.value = o->val && *o->val ? memory_strdup(o->val) : conninfo_default(o);
    item.secret = strchr(o->dispchar, '*') != NULL;
    ARRAY_PUSH(conninfo->items, conninfo->count, item);
  }
  *out = conninfo;
  return STATUS_OK;
}

void conninfo_set(Conninfo *conninfo, const char *key, const char *value) {
  ConninfoItem *item = conninfo_find(conninfo, key);
  if (!item)
    return; /* no libpq has it, so nothing would ever read it */
  conninfo_free_value(item->value);
  item->value = value && *value ? memory_strdup(value) : NULL;
}

const char *conninfo_get(const Conninfo *conninfo, const char *key) {
  const ConninfoItem *item = conninfo_find(conninfo, key);
  return item ? item->value : NULL;
}

char *conninfo_pinned_options(const Conninfo *conninfo) {
  const char *own = conninfo_get(conninfo, "options");
  return memory_format("%s%s%s", own ? own : "", own ? " " : "", postgres_pinned_options());
}

static Status conninfo_write_password(const char *password, const char *scratch_dir, char **path, Error *err) {
  if (strpbrk(password, "\r\n"))
    return error_set(err, ERR_INVALID_ARGUMENT, "the password of the connection string holds a line break");
  CLEANUP(buffer_release) Buffer line = {0};
  buffer_append_text(&line, "*:*:*:*:"); /* one file, one server: no need to match names */
  for (const char *p = password; *p; p++) {
    if (*p == ':' || *p == '\\')
      buffer_append_byte(&line, '\\');
    buffer_append_byte(&line, (uint8_t)*p);
  }
  buffer_append_byte(&line, '\n');
  CLEANUP_FREE char *file = memory_format("%s/pgpass-XXXXXX", scratch_dir);
  CLEANUP_CLOSE int fd = mkostemp(file, O_CLOEXEC); /* mode 0600, which libpq insists on */
  Status status = fd < 0 ? error_set_errno(err, errno, "cannot create a password file in %s", scratch_dir)
                         : file_write_all(fd, line.data, line.size, err);
  explicit_bzero(line.data, line.size);
  if (status != STATUS_OK) {
    if (fd >= 0)
      unlink(file);
    return status;
  }
  *path = STEAL(file);
  return STATUS_OK;
}

static bool conninfo_sets(char **list, size_t count, const char *pair) {
  size_t length = strcspn(pair, "=");
  for (size_t i = 0; i < count; i++)
    if (strncmp(list[i], pair, length) == 0 && list[i][length] == '=')
      return true;
  return false;
}

Status conninfo_environment(const Conninfo *conninfo, const char *scratch_dir, char ***env, Error *err) {
  if (conninfo_get(conninfo, "sslpassword")) {
    error_set(err, ERR_INVALID_ARGUMENT, "`sslpassword` cannot be handed to PostgreSQL's tools");
    error_remedy(err, "Use a client key without a passphrase, readable by the agent only.");
    return err->status;
  }
  CLEANUP_FREE char *passfile = NULL;
  const char *password = conninfo_get(conninfo, "password");
  Status status = password ? conninfo_write_password(password, scratch_dir, &passfile, err) : STATUS_OK;
  if (status != STATUS_OK)
    return status;

  char **list = NULL;
  size_t count = 0;
  for (size_t i = 0; i < conninfo->count; i++) {
    const ConninfoItem *item = &conninfo->items[i];
    bool replaced = strcmp(item->key, "options") == 0 || strcmp(item->key, "client_encoding") == 0 ||
                    (passfile && strcmp(item->key, "passfile") == 0);
    if (item->value && item->variable && *item->variable && !item->secret && !replaced)
      ARRAY_PUSH(list, count, memory_format("%s=%s", item->variable, item->value));
  }
  CLEANUP_FREE char *options = conninfo_pinned_options(conninfo);
  ARRAY_PUSH(list, count, memory_format("PGOPTIONS=%s", options));
  if (passfile)
    ARRAY_PUSH(list, count, memory_format("PGPASSFILE=%s", passfile));
  ARRAY_PUSH(list, count, memory_strdup("LC_ALL=C")); /* messages are classified, so they must be in one language */
  ARRAY_PUSH(list, count, memory_strdup("LANGUAGE"));
  size_t set = count;
  for (char **e = environ; e && *e; e++) {
    bool service_file = conninfo_get(conninfo, "service") &&
                        (strncmp(*e, "PGSERVICEFILE=", 14) == 0 || strncmp(*e, "PGSYSCONFDIR=", 13) == 0);
    if (strncmp(*e, "PG", 2) == 0 && !service_file && !conninfo_sets(list, set, *e))
      ARRAY_PUSH(list, count, memory_strndup(*e, strcspn(*e, "=")));
  }
  ARRAY_PUSH(list, count, NULL);
  *env = list;
  return STATUS_OK;
}

void environment_free(char **env) {
  for (char **e = env; e && *e; e++)
    free(*e);
  free(env);
}
