/* Credentials: files, the environment, the services' protocols, the order, and renewal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/repository/s3/credentials.h"
#include "tests/unit/common/repository/s3/peer.h"

/* ---- files ------------------------------------------------------------------------------------------ */

static Status parse(const char *text, const char *profile, S3Keys *keys, Error *err) {
  return s3_credentials_parse(text, strlen(text), "the-file", profile, keys, err);
}

static void test_file(void **state) {
  (void)state;
  static const char text[] = "# comment\r\n; another\r\n\r\n[default]\r\naws_access_key_id=AK1\r\n"
                             "aws_secret_access_key = s/e+c=r=e/t\r\nregion = eu-1\r\n"
                             "  [ other one ]  \nAWS_ACCESS_KEY_ID =AK2\naws_secret_access_key= x\n"
                             "aws_session_token = tok==\n[default2]\naws_access_key_id=no";
  Error err;
  CLEANUP(s3_keys_release) S3Keys a = {0}, b = {0}, c = {0};
  assert_int_equal(parse(text, "default", &a, &err), STATUS_OK);
  assert_string_equal(a.access_key, "AK1");
  assert_string_equal(a.secret_key, "s/e+c=r=e/t");
  assert_null(a.session_token);
  assert_int_equal(a.expires_us, 0);
  assert_int_equal(parse(text, "other one", &b, &err), STATUS_OK);
  assert_string_equal(b.access_key, "AK2");
  assert_string_equal(b.session_token, "tok==");
  assert_int_equal(parse(text, "default2", &c, &err), ERR_REPOSITORY_REFUSED);
  assert_non_null(strstr(err.message, "the-file:12"));
  assert_int_equal(parse(text, "def", &c, &err), ERR_REPOSITORY_REFUSED);
  assert_non_null(strstr(err.message, "no profile [def]"));
}

static void test_bad_files(void **state) {
  (void)state;
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {"", "no profile"},
      {"[default", "the-file:1: a profile's name"},
      {"\n[default]\nhidden words\n", "the-file:3: it is neither"},
      {"[default]\naws_secret_access_key=\n", "the-file:2: the value is empty"},
      {"[default]\naws_secret_access_key=hidden words\n", "the-file:2: the value is empty, too long, or has spaces"},
      {"[default]\naws_access_key_id=a\x01hidden\n", "the-file:2: the value"},
      {"[default]\naws_access_key_id=a\n", "the-file:1: the profile lacks"},
      {"[default]\nrole_arn=arn:hidden\nsource_profile=x\n", "the-file:2: a profile with a role"},
      {"[default]\ncredential_process=/bin/hidden\n", "the-file:2: a profile with a role, a process"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err;
    CLEANUP(s3_keys_release) S3Keys keys = {0};
    assert_int_equal(parse(cases[i].text, "default", &keys, &err), ERR_REPOSITORY_REFUSED);
    if (!strstr(err.message, cases[i].expected))
      fail_msg("%s", err.message);
    assert_null(strstr(err.message, "hidden"));
    assert_null(keys.access_key);
  }
}

static void test_times(void **state) {
  (void)state;
  assert_int_equal(s3_credentials_parse_time("2026-11-21T04:00:11Z"), INT64_C(1795233611) * 1000000);
  assert_int_equal(s3_credentials_parse_time("2026-11-21T04:00:11.123Z"), INT64_C(1795233611) * 1000000);
  assert_int_equal(s3_credentials_parse_time("2026-11-21T04:00:11+00:00"), INT64_C(1795233611) * 1000000);
  static const char *const bad[] = {"", "soon", "2026-11-21T04:00:11", "2026-11-21T04:00:11+01:00", "2026-11-21"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_int_equal(s3_credentials_parse_time(bad[i]), -1);
}

static void test_json(void **state) {
  (void)state;
  Error err;
  CLEANUP(s3_keys_release) S3Keys keys = {0};
  static const char good[] = "{\"Code\":\"Success\",\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"S\",\"Token\":\"T\","
                             "\"Expiration\":\"2026-11-21T04:00:11Z\"}";
  assert_int_equal(s3_credentials_parse_json(good, strlen(good), "x", &keys, &err), STATUS_OK);
  assert_string_equal(keys.session_token, "T");
  assert_true(keys.expires_us > 0);
  static const char *const bad[] = {"",
                                    "[]",
                                    "{}",
                                    "{\"AccessKeyId\":\"AK\"}",
                                    "{\"AccessKeyId\":\"A\\nK\",\"SecretAccessKey\":\"S\"}",
                                    "{\"AccessKeyId\":1,\"SecretAccessKey\":\"S\"}",
                                    "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"S\",\"Expiration\":\"soon\"}"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    CLEANUP(s3_keys_release) S3Keys none = {0};
    assert_int_equal(s3_credentials_parse_json(bad[i], strlen(bad[i]), "x", &none, &err), ERR_REPOSITORY_REFUSED);
    assert_null(none.access_key);
  }
}

/* ---- the chain, with services that speak the protocols of AWS's ---------------------------------------- */

typedef struct World {
  char directory[64];
  Peer peer;
  pthread_mutex_t lock;
  Buffer requests;   /* first lines and what matters of the rest */
  int expires_in;    /* seconds, of what is handed out; 0: as AWS, hours */
  atomic_int handed; /* how often */
  int status;        /* HTTP; 0: 200 */
} World;

static void answer(int fd, int status, const char *body) {
  CLEANUP_FREE char *text =
      memory_format("HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", status, strlen(body), body);
  peer_write(fd, text);
}

static char *credentials_json(World *world, const char *name) {
  char until[CLOCK_TEXT_SIZE];
  int number = atomic_fetch_add(&world->handed, 1) + 1;
  clock_format(clock_wall_us() + (int64_t)(world->expires_in ? world->expires_in : 6 * 3600) * 1000000, until);
  return memory_format("{\"AccessKeyId\":\"%s-%d\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"%s\"}",
                       name, number, until);
}

static void serve_sts(World *world, int fd, const char *head) {
  char body[2048] = "";
  const char *length = strcasestr(head, "content-length:");
  long left = length ? strtol(length + 15, NULL, 10) : 0;
  if (left > 0 && left < (long)sizeof body && recv(fd, body, (size_t)left, MSG_WAITALL) == left)
    body[left] = '\0';
  pthread_mutex_lock(&world->lock);
  buffer_append_format(&world->requests, "%s|", body);
  pthread_mutex_unlock(&world->lock);
  if (world->status) {
    answer(fd, world->status,
           "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>");
    return;
  }
  atomic_fetch_add(&world->handed, 1);
  answer(fd, 200,
         "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
         "<AssumeRoleWithWebIdentityResult><Credentials><SessionToken>ST</SessionToken><SecretAccessKey>SS"
         "</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration><AccessKeyId>STS-1</AccessKeyId>"
         "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>");
}

static void serve(Peer *peer, int fd, int number) {
  (void)number;
  World *world = peer->user;
  char head[8192];
  if (!peer_read_head(fd, head, sizeof head))
    return;
  const char *authorization = strstr(head, "Authorization: "), *token = strstr(head, "X-aws-ec2-metadata-token: ");
  pthread_mutex_lock(&world->lock);
  buffer_append_format(&world->requests, "%.*s %.*s|", (int)strcspn(head, "\r"), head,
                       authorization ? (int)strcspn(authorization, "\r") : 0, authorization ? authorization : "");
  pthread_mutex_unlock(&world->lock);
  CLEANUP_FREE char *json = NULL;
  if (strncmp(head, "POST ", 5) == 0) {
    serve_sts(world, fd, head);
  } else if (world->status) {
    answer(fd, world->status, "no");
  } else if (strncmp(head, "PUT /latest/api/token ", 22) == 0) {
    answer(fd, strstr(head, "X-aws-ec2-metadata-token-ttl-seconds: ") ? 200 : 400, "the-token");
  } else if (strncmp(head, "GET /latest/", 12) == 0 && (!token || strncmp(token + 26, "the-token\r", 10) != 0)) {
    answer(fd, 401, "");
  } else if (strncmp(head, "GET /latest/meta-data/iam/security-credentials/ ", 48) == 0) {
    answer(fd, 200, "the-role");
  } else if (strncmp(head, "GET /latest/meta-data/iam/security-credentials/the-role ", 56) == 0) {
    json = credentials_json(world, "IMDS");
    answer(fd, 200, json);
  } else if (strncmp(head, "GET /container", 14) == 0) {
    json = credentials_json(world, "ECS");
    answer(fd, 200, json);
  } else {
    answer(fd, 404, "");
  }
}

static const char *const variables[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_PROFILE",
                                        "AWS_SHARED_CREDENTIALS_FILE",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_ROLE_SESSION_NAME",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_DISABLED",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT"};

static void set_to(const char *name, const char *format, ...) PRINTF_LIKE(2, 3);
static void set_to(const char *name, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  setenv(name, text, 1);
}

static int setup(void **state) {
  World *world = memory_alloc(sizeof *world);
  *state = world;
  snprintf(world->directory, sizeof world->directory, "/tmp/pgseal-test-keys-XXXXXX");
  if (!mkdtemp(world->directory))
    return -1;
  pthread_mutex_init(&world->lock, NULL);
  peer_start(&world->peer, serve, world);
  for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
    unsetenv(variables[i]);
  setenv("HOME", world->directory, 1);
  setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
  return 0;
}

static int teardown(void **state) {
  Error err;
  World *world = *state;
  peer_stop(&world->peer);
  buffer_release(&world->requests);
  pthread_mutex_destroy(&world->lock);
  Status status = file_remove_tree(world->directory, &err);
  free(world);
  return status == STATUS_OK ? 0 : -1;
}

static char *put_file(const World *world, const char *name, const char *text) {
  Error err;
  char *path = memory_format("%s/%s", world->directory, name);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), &err), STATUS_OK);
  return path;
}

static void expect_key(const S3CredentialsOptions *options, const char *access) {
  Error err;
  S3CredentialsOptions defaults = {.region = "eu-1"};
  CLEANUP(s3_keys_release) S3Keys keys = {0};
  S3Credentials *credentials = s3_credentials_new(options ? options : &defaults);
  Status status = s3_credentials_get(credentials, NULL, &keys, &err);
  s3_credentials_free(credentials);
  if (status != STATUS_OK)
    fail_msg("%s", err.message);
  assert_string_equal(keys.access_key, access);
}

static Status expect_none(const char *mentions) {
  Error err;
  S3CredentialsOptions options = {.region = "eu-1"};
  CLEANUP(s3_keys_release) S3Keys keys = {0};
  S3Credentials *credentials = s3_credentials_new(&options);
  Status status = s3_credentials_get(credentials, NULL, &keys, &err);
  s3_credentials_free(credentials);
  assert_true(status != STATUS_OK);
  if (!strstr(err.message, mentions) && !strstr(err.remedy, mentions))
    fail_msg("%s (%s)", err.message, err.remedy);
  return status;
}

#define SHARED(key) "[default]\naws_access_key_id=" key "\naws_secret_access_key=S\n"

/* From the last of the chain to the first: each takes over from those below it. */
static void test_order(void **state) {
  World *world = *state;
  Error err;
  assert_int_equal(expect_none("credentials_file"), ERR_REPOSITORY_REFUSED);
  unsetenv("AWS_EC2_METADATA_DISABLED");
  set_to("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:%d/", world->peer.port);
  expect_key(NULL, "IMDS-1");
  set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:%d/container", world->peer.port);
  expect_key(NULL, "ECS-2");
  CLEANUP_FREE char *aws = memory_format("%s/.aws", world->directory);
  assert_int_equal(file_make_dirs(aws, 0700, &err), STATUS_OK);
  CLEANUP_FREE char *home = put_file(world, ".aws/credentials", SHARED("HOME"));
  expect_key(NULL, "HOME");
  CLEANUP_FREE char *shared =
      put_file(world, "shared", "[p]\naws_access_key_id=P\naws_secret_access_key=S\n" SHARED("D"));
  set_to("AWS_SHARED_CREDENTIALS_FILE", "%s", shared);
  expect_key(NULL, "D");
  set_to("AWS_PROFILE", "p");
  expect_key(NULL, "P");
  CLEANUP_FREE char *token = put_file(world, "token", "the&token\n");
  set_to("AWS_WEB_IDENTITY_TOKEN_FILE", "%s", token);
  set_to("AWS_ROLE_ARN", "arn:aws:iam::1:role/x");
  set_to("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:%d", world->peer.port);
  expect_key(NULL, "STS-1");
  set_to("AWS_ACCESS_KEY_ID", "ENV");
  expect_none("only one is set");
  set_to("AWS_SECRET_ACCESS_KEY", "S");
  expect_key(NULL, "ENV");
  CLEANUP_FREE char *named = put_file(world, "named", SHARED("NAMED"));
  S3CredentialsOptions options = {.region = "eu-1", .file = named, .profile = "default"};
  expect_key(&options, "NAMED");
  assert_non_null(strstr(buffer_text(&world->requests), "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn="
                                                        "arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fx&RoleSessionName=pgseal&"
                                                        "WebIdentityToken=the%26token|"));
}

static void test_container_token(void **state) {
  World *world = *state;
  set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:%d/container", world->peer.port);
  set_to("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer one");
  expect_key(NULL, "ECS-1");
  assert_non_null(strstr(buffer_text(&world->requests), "Authorization: Bearer one|"));
  CLEANUP_FREE char *file = put_file(world, "token", "Bearer two\n");
  set_to("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s", file);
  expect_key(NULL, "ECS-2");
  assert_non_null(strstr(buffer_text(&world->requests), "Authorization: Bearer two|"));
  static const char *const far[] = {"http://example.org/container", "http://127.0.0.1.example.org/",
                                    "http://127.0.0.1@x/", "ftp://127.0.0.1/"};
  for (size_t i = 0; i < ARRAY_SIZE(far); i++) { /* the token goes to nobody else */
    set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s", far[i]);
    assert_int_equal(expect_none("in the clear"), ERR_REPOSITORY_REFUSED);
  }
}

/* What is set up and does not work is the error: nobody wants to write with keys he did not mean. */
static void test_broken_sources(void **state) {
  World *world = *state;
  world->status = 404;
  set_to("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:%d", world->peer.port);
  unsetenv("AWS_EC2_METADATA_DISABLED");
  assert_int_equal(expect_none("404"), ERR_REPOSITORY_REFUSED);
  world->status = 503;
  assert_int_equal(expect_none("503"), ERR_REPOSITORY_UNAVAILABLE); /* passes, so it is tried again */
  set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:%d/container", world->peer.port);
  assert_int_equal(expect_none("503"), ERR_REPOSITORY_UNAVAILABLE);
  set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/container");
  assert_int_equal(expect_none("127.0.0.1:1/container"), ERR_REPOSITORY_UNAVAILABLE);
  set_to("AWS_SHARED_CREDENTIALS_FILE", "%s/none", world->directory);
  assert_int_equal(expect_none("/none"), ERR_REPOSITORY_REFUSED);
  CLEANUP_FREE char *token = put_file(world, "token", "t");
  set_to("AWS_WEB_IDENTITY_TOKEN_FILE", "%s", token);
  set_to("AWS_ROLE_ARN", "arn:aws:iam::1:role/x");
  set_to("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:%d", world->peer.port);
  world->status = 400;
  assert_int_equal(expect_none("InvalidIdentityToken"), ERR_REPOSITORY_REFUSED);
  unlink(token);
  assert_int_equal(expect_none("token"), ERR_REPOSITORY_REFUSED);
}

static char *key_of(S3Credentials *credentials, const char *refused) {
  Error err;
  CLEANUP(s3_keys_release) S3Keys keys = {0};
  if (s3_credentials_get(credentials, refused, &keys, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return memory_strdup(keys.access_key);
}

static void expect_next(S3Credentials *credentials, const char *refused, const char *expected) {
  CLEANUP_FREE char *key = key_of(credentials, refused);
  assert_string_equal(key, expected);
}

static void test_renewal(void **state) {
  World *world = *state;
  S3CredentialsOptions options = {.region = "eu-1"};
  S3Credentials *credentials = s3_credentials_new(&options);
  set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:%d/container", world->peer.port);
  expect_next(credentials, NULL, "ECS-1");
  expect_next(credentials, NULL, "ECS-1");    /* good for hours */
  expect_next(credentials, "ECS-1", "ECS-2"); /* unless the server says otherwise */
  expect_next(credentials, "ECS-1", "ECS-2"); /* another thread noticed later */
  world->expires_in = 1;
  expect_next(credentials, "ECS-2", "ECS-3");
  world->expires_in = 0;
  usleep(1100000);
  expect_next(credentials, NULL, "ECS-4"); /* expired */
  s3_credentials_free(credentials);
}

/* Those that expire soon are good until they do, if there are no others yet. */
static void test_renewal_fails(void **state) {
  World *world = *state;
  S3CredentialsOptions options = {.region = "eu-1"};
  S3Credentials *credentials = s3_credentials_new(&options);
  set_to("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:%d/container", world->peer.port);
  world->expires_in = 2;
  expect_next(credentials, NULL, "ECS-1");
  world->status = 503;
  expect_next(credentials, NULL, "ECS-1");
  usleep(2100000);
  Error err;
  CLEANUP(s3_keys_release) S3Keys keys = {0};
  assert_int_equal(s3_credentials_get(credentials, NULL, &keys, &err), ERR_REPOSITORY_UNAVAILABLE);
  s3_credentials_free(credentials);
}

int main(void) {
#define SERVED(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_file),  cmocka_unit_test(test_bad_files),
      cmocka_unit_test(test_times), cmocka_unit_test(test_json),
      SERVED(test_order),           SERVED(test_container_token),
      SERVED(test_broken_sources),  SERVED(test_renewal),
      SERVED(test_renewal_fails),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
