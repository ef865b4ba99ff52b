/*
 * The real S3 server of the tests (deploy/demo/s3): that of the directory PGSEAL_TEST_S3 if it is set, which is how
 * tests/unit/run shares one among programs, else one of this program's own. Programs run from the project's root.
 */
#ifndef PGSEAL_TESTS_REPOSITORY_S3_SERVER_H
#define PGSEAL_TESTS_REPOSITORY_S3_SERVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/crypto/digest.h"
#include "common/repository/s3/s3.h"

typedef struct Server {
  char *directory;
  bool own;
  char *http, *https, *ca, *access_key, *secret_key, *credentials; /* the owner's; a file of them */
} Server;

static inline void must(Status status, const Error *err) {
  if (status != STATUS_OK)
    fail_msg("%s: %s (%s)", error_code(status), err->message, err->remedy);
}

static inline char *server_tool(const char *const *argv) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  ProcessOptions options = {.argv = argv, .pipe_stdout = true};
  must(process_run(&options, 1 << 20, &out, &err), &err);
  return buffer_steal_text(&out);
}

static inline char *server_value(const char *text, const char *name) {
  const char *line = strstr(text, name);
  assert_non_null(line);
  line += strlen(name) + 1;
  return memory_strndup(line, strcspn(line, "\n"));
}

static inline char *server_write_keys(const Server *server, const char *name, const char *access, const char *secret) {
  Error err;
  char *path = memory_format("%s-%s", server->directory, name);
  CLEANUP_FREE char *text =
      memory_format("# of the tests\n[default]\naws_access_key_id = %s\naws_secret_access_key=%s\n", access, secret);
  must(file_write_atomic(path, 0600, text, strlen(text), &err), &err);
  return path;
}

/* To be called before there are threads. */
static inline int server_start(Server *server) {
  const char *shared = getenv("PGSEAL_TEST_S3");
  server->own = !shared;
  char template[] = "/tmp/pgs3.XXXXXX";
  if (!shared)
    assert_non_null(mkdtemp(template));
  server->directory = shared ? memory_strdup(shared) : memory_format("%s/d", template);
  if (!shared)
    assert_int_equal(chmod(template, 0755), 0);
  const char *const argv[] = {"deploy/demo/s3", "start", server->directory, NULL};
  CLEANUP_FREE char *path = memory_format("%s/env", server->directory), *text = NULL;
  if (shared) {
    Error err;
    must(file_read_text(path, 4096, &text, &err), &err);
  } else {
    text = server_tool(argv);
  }
  server->http = server_value(text, "S3_HTTP");
  server->https = server_value(text, "S3_HTTPS");
  server->ca = server_value(text, "S3_CA");
  server->access_key = server_value(text, "S3_ACCESS_KEY");
  server->secret_key = server_value(text, "S3_SECRET_KEY");
  CLEANUP_FREE char *name = memory_format("owner-%d", (int)getpid());
  server->credentials = server_write_keys(server, name, server->access_key, server->secret_key);
  return 0;
}

static inline int server_stop(Server *server) {
  Error err;
  if (server->own) {
    const char *const argv[] = {"deploy/demo/s3", "remove", server->directory, NULL};
    free(server_tool(argv));
    *strrchr(server->directory, '/') = '\0';
    must(file_remove_tree(server->directory, &err), &err);
  } else {
    unlink(server->credentials);
  }
  char *texts[] = {server->directory,  server->http,       server->https,      server->ca,
                   server->access_key, server->secret_key, server->credentials};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    free(texts[i]);
  return 0;
}

static inline size_t server_keep(char *data, size_t size, size_t count, void *user) {
  buffer_append(user, data, size * count);
  return size * count;
}

/* What no part of pgseal does: any request, signed as the owner. header: one more, or NULL. Returns HTTP's status. */
static inline long server_request(const Server *server, const char *method, const char *path, const char *body,
                                  const char *header, Buffer *answer) {
  CURL *curl = curl_easy_init();
  CLEANUP_FREE char *url = memory_format("%s/%s", server->https, path);
  char hash[SHA256_HEX_SIZE], line[SHA256_HEX_SIZE + 32];
  sha256_hex(body ? body : "", body ? strlen(body) : 0, hash);
  snprintf(line, sizeof line, "x-amz-content-sha256: %s", hash);
  struct curl_slist *headers = curl_slist_append(NULL, line);
  if (strcmp(method, "POST") != 0) /* else it is a form */
    headers = curl_slist_append(headers, "Content-Type: application/octet-stream");
  if (header)
    headers = curl_slist_append(headers, header);
  curl_easy_setopt(curl, CURLOPT_URL, url);
  if (body)
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
  curl_easy_setopt(curl, CURLOPT_CAINFO, server->ca);
  if (strcmp(method, "HEAD") == 0) {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(curl, CURLOPT_HEADER, 1L);
  }
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, "aws:amz:us-east-1:s3");
  curl_easy_setopt(curl, CURLOPT_USERNAME, server->access_key);
  curl_easy_setopt(curl, CURLOPT_PASSWORD, server->secret_key);
  Buffer ignored = {0};
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, server_keep);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer ? answer : &ignored);
  assert_int_equal(curl_easy_perform(curl), CURLE_OK);
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  curl_slist_free_all(headers);
  curl_easy_cleanup(curl);
  buffer_release(&ignored);
  return status;
}

/* A HEAD, whose header goes into `answer`. */
static inline long server_head(const Server *server, const char *path, Buffer *answer) {
  return server_request(server, "HEAD", path, NULL, NULL, answer);
}

/* A new bucket; the name is freed by the caller. */
static inline char *server_bucket(const Server *server, const char *header) {
  char *name = memory_format("t-%s", id_new().text);
  assert_int_equal(server_request(server, "PUT", name, NULL, header, NULL), 200);
  return name;
}

static inline S3Options server_options(const Server *server, const char *bucket) {
  return (S3Options){.bucket = bucket,
                     .endpoint = server->https,
                     .ca_file = server->ca,
                     .credentials_file = server->credentials,
                     .retry_seconds = 20,
                     .timeout_seconds = 10};
}

static inline Repository *server_open(const S3Options *options) {
  Error err;
  Repository *repository = NULL;
  must(s3_repository_open(options, &repository, &err), &err);
  return repository;
}

/* Returns the file of the keys of a new user, whose name and key id are handed out, too. */
static inline char *server_user(const Server *server, char **name, char **access) {
  char *unique = memory_format("role-%s", id_new().text);
  const char *const argv[] = {"deploy/demo/s3", "user", server->directory, unique, NULL};
  CLEANUP_FREE char *text = server_tool(argv);
  char *space = strchr(text, ' ');
  assert_non_null(space);
  *space = '\0';
  space[1 + strcspn(space + 1, "\n")] = '\0';
  char *file = server_write_keys(server, unique, text, space + 1);
  *access = memory_strdup(text);
  *name = unique;
  return file;
}

/* A new user and what he may do in the bucket, by AWS's names, each quoted. What he stored himself is his in Ceph, and
 * also open to him for what is not in `may`; not for what is in `may_not` (or NULL). Returns the file of his keys. */
static inline char *server_role(const Server *server, const char *bucket, const char *may, const char *may_not,
                                char **access) {
  CLEANUP_FREE char *user = NULL;
  char *file = server_user(server, &user, access);
  CLEANUP_FREE char *who = memory_format("\"Principal\":{\"AWS\":[\"arn:aws:iam:::user/%s\"]}", user);
  CLEANUP_FREE char *where = memory_format("\"Resource\":[\"arn:aws:s3:::%s\",\"arn:aws:s3:::%s/*\"]", bucket, bucket);
  CLEANUP_FREE char *deny =
      may_not ? memory_format(",{\"Effect\":\"Deny\",%s,\"Action\":[%s],%s}", who, may_not, where) : memory_strdup("");
  CLEANUP_FREE char *policy =
      memory_format("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",%s,\"Action\":[%s],%s}%s]}", who,
                    may, where, deny);
  CLEANUP_FREE char *path = memory_format("%s?policy=", bucket);
  CLEANUP(buffer_release) Buffer answer = {0};
  long status = server_request(server, "PUT", path, policy, NULL, &answer);
  if (status != 200 && status != 204)
    fail_msg("policy: HTTP %ld %s", status, buffer_text(&answer));
  return file;
}

#endif
