#include "coordinator/traces/settings.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/yaml.h"
#include "common/crypto/authority.h"
#include "coordinator/config_schema.h"
#include "coordinator/delivery/url.h"

enum { FILE_LIMIT = 16 << 10, OTHERS = 077 };
#define TRACES_PATH "/v1/traces"

/* As the OpenTelemetry Protocol has it of an endpoint of all signals: the path of traces is appended. One that ends so
 * already is meant as it is. */
static char *with_path(const char *url) {
  size_t length = strlen(url), path = strlen(TRACES_PATH);
  while (length > 0 && url[length - 1] == '/')
    length--;
  bool whole = length > path && memcmp(url + length - path, TRACES_PATH, path) == 0;
  return memory_format("%.*s%s", (int)length, url, whole ? "" : TRACES_PATH);
}

Status trace_settings_take(const SettingsFrom *from, const struct RawTraces *raw, TraceSettings *out, Error *err) {
  if (!raw)
    return STATUS_OK;
  const char *problem = delivery_url_problem(false, raw->endpoint, raw->unencrypted);
  if (!problem && strchr(raw->endpoint, '?'))
    problem = "it has a part after '?'; what is secret goes into headers_file";
  if (problem)
    return config_error_at(err, from->path, "traces", "endpoint", "%s", problem);
  out->endpoint = from->own(from->user, with_path(raw->endpoint));
  out->headers_file = settings_path(from, raw->headers_file);
  out->ca_file = settings_path(from, raw->ca_file);
  out->service_name = raw->service_name ? raw->service_name : "pgseal";
  return text_tag_valid(out->service_name)
             ? STATUS_OK
             : config_error_at(err, from->path, "traces", "service_name", "it must be 1 to 128 printable characters");
}

Status trace_settings_check(const TraceSettings *settings, Error *err) {
  TraceHeaders headers = {0};
  Status status = trace_settings_headers(settings, &headers, err);
  trace_headers_release(&headers);
  if (status == STATUS_OK && settings->ca_file && !file_exists(settings->ca_file))
    status = error_set(err, ERR_CONFIG, "traces: there is no %s", settings->ca_file);
  return status;
}

/* ---- headers ---- */

/* A field's name and value (RFC 9110, 5.1, 5.5), and none that is ours to say. */
static bool header_valid(const char *line) {
  static const char *const ours[] = {"host", "content-type", "content-length", "content-encoding", "transfer-encoding"};
  size_t name = strcspn(line, ":");
  if (name == 0 || !line[name])
    return false;
  for (size_t i = 0; i < name; i++)
    if (!isalnum((unsigned char)line[i]) && !strchr("!#$%&'*+-.^_`|~", line[i]))
      return false;
  for (const char *p = line + name; *p; p++)
    if ((*p < ' ' && *p != '\t') || *p == 127)
      return false;
  for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
    if (strlen(ours[i]) == name && strncasecmp(ours[i], line, name) == 0)
      return false;
  return true;
}

static Status take_lines(const char *path, char *text, TraceHeaders *out, Error *err) {
  int number = 0;
  for (char *line = text, *next; line; line = next) {
    next = strchr(line, '\n');
    if (next)
      *next++ = 0;
    number++;
    line[strcspn(line, "\r")] = 0;
    if (!*line || *line == '#')
      continue;
    if (!header_valid(line))
      return error_set(err, ERR_CONFIG, "traces: %s:%d: it has to be \"Name: value\", and no header of pgseal's own",
                       path, number);
    if (out->count == TRACE_HEADERS)
      return error_set(err, ERR_CONFIG, "traces: %s:%d: there are more than %d headers", path, number, TRACE_HEADERS);
    out->items[out->count++] = memory_strdup(line);
  }
  return STATUS_OK;
}

Status trace_settings_headers(const TraceSettings *settings, TraceHeaders *out, Error *err) {
  CLEANUP(secret_text_free) char *text = NULL;
  const char *path = settings->headers_file;
  struct stat info;
  Error cause;
  if (!path)
    return STATUS_OK;
  if (stat(path, &info) == 0 && (info.st_mode & OTHERS) != 0) {
    error_set(err, ERR_CONFIG, "traces: headers_file: %s may be read by others", path);
    error_remedy(err, "chmod 600 %s", path);
    return ERR_CONFIG;
  }
  if (file_read_text(path, FILE_LIMIT, &text, &cause) != STATUS_OK)
    return error_set(err, ERR_CONFIG, "traces: headers_file: %s", cause.message);
  Status status = take_lines(path, text, out, err);
  if (status != STATUS_OK)
    trace_headers_release(out);
  return status;
}

void trace_headers_release(TraceHeaders *headers) {
  for (size_t i = 0; i < headers->count; i++)
    secret_text_free(&headers->items[i]);
  *headers = (TraceHeaders){0};
}
