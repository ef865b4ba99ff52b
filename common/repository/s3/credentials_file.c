/* AWS shared credentials files: INI with a section per profile. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/repository/s3/credentials.h"

enum { FILE_LIMIT = 1 << 20, KEY_LIMIT = 128, TOKEN_LIMIT = 16384 };

typedef struct Span {
  const char *at;
  size_t size;
} Span;

static Span trim(const char *at, const char *end) {
  while (at < end && isspace((unsigned char)*at))
    at++;
  while (end > at && isspace((unsigned char)end[-1]))
    end--;
  return (Span){at, (size_t)(end - at)};
}

static bool is(Span span, const char *text) {
  return span.size == strlen(text) && strncasecmp(span.at, text, span.size) == 0;
}

static Status bad(Error *err, const char *name, int line, const char *what) {
  error_set(err, ERR_REPOSITORY_REFUSED, "%s:%d: %s", name, line, what);
  error_object(err, "%s:%d", name, line);
  error_remedy(err, "Write it as AWS's tools do: a line [PROFILE], then aws_access_key_id = ... and "
                    "aws_secret_access_key = ...");
  return err->status;
}

/* Printable and without spaces: it goes into a header. */
static bool is_word(Span value, size_t limit) {
  for (size_t i = 0; i < value.size; i++)
    if (value.at[i] <= ' ' || value.at[i] > '~')
      return false;
  return value.size > 0 && value.size <= limit;
}

static Status take(S3Keys *keys, Span key, Span value, const char *name, int line, Error *err) {
  const struct {
    const char *key;
    char **to;
    size_t limit;
  } known[] = {{"aws_access_key_id", &keys->access_key, KEY_LIMIT},
               {"aws_secret_access_key", &keys->secret_key, KEY_LIMIT},
               {"aws_session_token", &keys->session_token, TOKEN_LIMIT}};
  for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
    if (!is(key, known[i].key))
      continue;
    if (!is_word(value, known[i].limit))
      return bad(err, name, line, "the value is empty, too long, or has spaces or other characters that no key has");
    s3_secret_free(known[i].to);
    *known[i].to = memory_strndup(value.at, value.size);
  }
  static const char *const elsewhere[] = {"credential_process", "role_arn", "sso_session", "sso_start_url",
                                          "web_identity_token_file"};
  for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
    if (is(key, elsewhere[i]))
      return bad(err, name, line,
                 "a profile with a role, a process or single sign-on cannot be used; only one with keys");
  return STATUS_OK;
}

typedef struct Reader {
  const char *name, *profile;
  bool inside, seen;
  int at; /* line of the profile */
  S3Keys keys;
} Reader;

static Status read_line(Reader *reader, Span line, int number, Error *err) {
  if (line.size == 0 || line.at[0] == '#' || line.at[0] == ';')
    return STATUS_OK;
  if (line.at[0] == '[') {
    if (line.at[line.size - 1] != ']')
      return bad(err, reader->name, number, "a profile's name does not end with ]");
    Span profile = trim(line.at + 1, line.at + line.size - 1);
    reader->inside = profile.size == strlen(reader->profile) && memcmp(profile.at, reader->profile, profile.size) == 0;
    reader->seen = reader->seen || reader->inside;
    reader->at = reader->inside ? number : reader->at;
    return STATUS_OK;
  }
  const char *equals = memchr(line.at, '=', line.size);
  if (!equals)
    return bad(err, reader->name, number, "it is neither [PROFILE] nor KEY = VALUE");
  return reader->inside ? take(&reader->keys, trim(line.at, equals), trim(equals + 1, line.at + line.size),
                               reader->name, number, err)
                        : STATUS_OK;
}

static void release(Reader *reader) {
  s3_keys_release(&reader->keys);
}

Status s3_credentials_parse(const char *text, size_t size, const char *name, const char *profile, S3Keys *keys,
                            Error *err) {
  CLEANUP(release) Reader reader = {.name = name, .profile = profile};
  const char *end = text + size;
  int number = 0;
  while (text < end) {
    const char *stop = memchr(text, '\n', (size_t)(end - text));
    Status status = read_line(&reader, trim(text, stop ? stop : end), ++number, err);
    if (status != STATUS_OK)
      return status;
    text = stop ? stop + 1 : end;
  }
  if (!reader.seen) {
    error_set(err, ERR_REPOSITORY_REFUSED, "%s has no profile [%s]", name, profile);
    error_remedy(err, "Name one that it has: `profile` of the repository, or AWS_PROFILE.");
    return err->status;
  }
  if (!reader.keys.access_key || !reader.keys.secret_key)
    return bad(err, name, reader.at, "the profile lacks aws_access_key_id or aws_secret_access_key");
  *keys = reader.keys;
  reader.keys = (S3Keys){0};
  return STATUS_OK;
}

/* Where the SDKs look, unless the configuration names a file. *named: somebody said so, so it must be there. */
static char *shared_path(const S3CredentialsOptions *options, bool *named) {
  const char *path = options->file ? options->file : getenv("AWS_SHARED_CREDENTIALS_FILE"), *home = getenv("HOME");
  *named = path && *path;
  if (*named)
    return memory_strdup(path);
  return home && *home ? memory_format("%s/.aws/credentials", home) : NULL;
}

Status s3_credentials_shared(const S3CredentialsOptions *options, S3Keys *keys, bool *found, Error *err) {
  const char *profile = options->profile ? options->profile : getenv("AWS_PROFILE");
  bool named, chosen = profile && *profile;
  CLEANUP_FREE char *path = shared_path(options, &named);
  CLEANUP(s3_secret_release) Buffer text = {0};
  Error failure;
  *found = false;
  if (!path || (!named && !chosen && !file_exists(path)))
    return STATUS_OK;
  if (file_read(path, FILE_LIMIT, &text, &failure) != STATUS_OK) {
    error_set(err, ERR_REPOSITORY_REFUSED, "cannot read the credentials: %s", failure.message);
    error_object(err, "%s", path);
    error_remedy(err, "See that the file is there, and readable for the user the agent runs as.");
    return err->status;
  }
  Status status =
      s3_credentials_parse((const char *)text.data, text.size, path, chosen ? profile : "default", keys, &failure);
  *found = status == STATUS_OK;
  if (status != STATUS_OK)
    *err = failure;
  return status;
}
