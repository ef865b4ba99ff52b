#include "common/rehearsal/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/json_clean.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/authority.h"

enum { SECRET_SIZE = 32, SECRET_LIMIT = 256, SECRET_TEXT_LIMIT = (SECRET_LIMIT + 2) / 3 * 4 };

struct RehearsalSecret {
  size_t size;
  uint8_t bytes[SECRET_LIMIT + 3]; /* decoding writes whole groups of three */
};

char *rehearsal_secret_generate(void) {
  uint8_t bytes[SECRET_SIZE];
  if (RAND_bytes(bytes, sizeof bytes) != 1)
    abort();
  char *text = memory_alloc(SECRET_TEXT_LIMIT + 1);
  EVP_EncodeBlock((unsigned char *)text, bytes, sizeof bytes);
  OPENSSL_cleanse(bytes, sizeof bytes);
  return text;
}

Status rehearsal_secret_parse(const char *text, RehearsalSecret **out, Error *err) {
  size_t length = strlen(text), padding = 0;
  while (padding < 2 && padding < length && text[length - padding - 1] == '=')
    padding++;
  if (length <= SECRET_TEXT_LIMIT && length % 4 == 0) {
    RehearsalSecret *secret = memory_alloc(sizeof *secret);
    int size = EVP_DecodeBlock(secret->bytes, (const unsigned char *)text, (int)length);
    if (size >= SECRET_SIZE + (int)padding) {
      secret->size = (size_t)size - padding;
      *out = secret;
      return STATUS_OK;
    }
    rehearsal_secret_free(secret);
  }
  error_set(err, ERR_INVALID_ARGUMENT, "a rehearsal's secret is base64 of %d to %d bytes, and this is not", SECRET_SIZE,
            SECRET_LIMIT);
  error_remedy(err, "Make one with `pgseal rehearse --new-secret`, and give it to the agent and to whoever rehearses.");
  return err->status;
}

Status rehearsal_secret_load(const char *path, RehearsalSecret **out, Error *err) {
  CLEANUP(secret_text_free) char *text = NULL;
  struct stat file;
  Status status = file_read_text(path, SECRET_TEXT_LIMIT + 2, &text, err);
  if (status == STATUS_OK && stat(path, &file) == 0 && (file.st_mode & 077) != 0) {
    status = error_set(err, ERR_KEY_UNREADABLE, "others than its owner may read it");
    error_remedy(err, "chmod 600 %s; and if others could read it for long, make a new secret.", path);
  }
  if (status == STATUS_OK)
    status = rehearsal_secret_parse(text, out, err);
  if (status == STATUS_OK)
    return STATUS_OK;
  err->status = ERR_KEY_UNREADABLE;
  error_object(err, "%s", path);
  return error_prefix(err, "the rehearsal's secret in %s", path);
}

void rehearsal_secret_free(RehearsalSecret *secret) {
  if (!secret)
    return;
  OPENSSL_cleanse(secret, sizeof *secret);
  free(secret);
}

/* HMAC-SHA-256 is part of every OpenSSL; that it refuses means a broken installation. */
static void mac(const RehearsalSecret *secret, const Buffer *message, char out[REHEARSAL_MAC_SIZE]) {
  uint8_t digest[SHA256_SIZE];
  if (!HMAC(EVP_sha256(), secret->bytes, (int)secret->size, message->data, message->size, digest, NULL))
    abort();
  text_hex(digest, sizeof digest, out);
}

/* Texts, each with the zero byte behind it: no two lists of them are the same bytes. */
static void append(Buffer *message, const char *text) {
  buffer_append(message, text, strlen(text) + 1);
}

/* All members but "mac", whatever their order and the blanks between them. json is taken. */
static void append_json(Buffer *message, json_t *json, size_t flags) {
  json_object_del(json, "mac");
  CLEANUP_FREE char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | flags);
  json_decref(json);
  append(message, text ? text : "");
}

void rehearsal_request_mac(const RehearsalSecret *secret, const json_t *request, char out[REHEARSAL_MAC_SIZE]) {
  CLEANUP(buffer_release) Buffer message = {0};
  append(&message, "pgseal rehearse request");
  append_json(&message, json_copy((json_t *)request), 0);
  mac(secret, &message, out);
}

/* A client cleans what it reads before anything else. */
void rehearsal_report_mac(const RehearsalSecret *secret, const char *nonce, const json_t *report,
                          char out[REHEARSAL_MAC_SIZE]) {
  CLEANUP(buffer_release) Buffer message = {0};
  json_t *clean = json_deep_copy(report);
  json_clean(clean);
  append(&message, "pgseal rehearse report");
  append(&message, nonce);
  append_json(&message, clean, JSON_REAL_PRECISION(6));
  mac(secret, &message, out);
}

bool rehearsal_mac_equal(const char *a, const char *b) {
  return strlen(a) == strlen(b) && CRYPTO_memcmp(a, b, strlen(a)) == 0;
}

static Status refuse(Error *err, const char *why, const char *remedy) {
  error_set(err, ERR_FORBIDDEN, "the rehearsal is refused: %s", why);
  error_remedy(err, "%s", remedy);
  return err->status;
}

Status rehearsal_request_check(const RehearsalSecret *secret, const json_t *request, const char *database,
                               int64_t now_us, Error *err) {
  char expected[REHEARSAL_MAC_SIZE];
  const char *found = json_string_value(json_object_get(request, "mac"));
  const char *named = json_string_value(json_object_get(request, "database"));
  rehearsal_request_mac(secret, request, expected);
  if (!found || !rehearsal_mac_equal(found, expected))
    return refuse(err, "it was not asked for with this agent's secret",
                  "Pass the secret that `rehearse.secret_file` of the agent names: --secret-file, or "
                  "PGSEAL_REHEARSE_SECRET.");
  if (!named || strcmp(named, database) != 0)
    return refuse(err, "it was asked for another database", "Ask for it again.");
  int64_t age = now_us / 1000000 - (int64_t)json_integer_value(json_object_get(request, "time"));
  if (age > REHEARSAL_MAC_SECONDS || age < -REHEARSAL_MAC_SECONDS)
    return refuse(err, "it was asked for more than 15 minutes ago, or clocks differ",
                  "Ask for it again; set the clocks of the agent's machine and of this one.");
  return STATUS_OK;
}

Status rehearsal_report_check(const RehearsalSecret *secret, const char *nonce, const json_t *report, Error *err) {
  char expected[REHEARSAL_MAC_SIZE];
  const char *found = json_string_value(json_object_get(report, "mac"));
  rehearsal_report_mac(secret, nonce, report, expected);
  if (found && rehearsal_mac_equal(found, expected))
    return STATUS_OK;
  error_set(err, ERR_FORBIDDEN, "the report is %s: it says nothing of the migration",
            found ? "not the one that the agent made" : "not vouched for by an agent");
  error_remedy(err, "Look who has been at the coordinator, or at what stands before it%s.",
               found ? "" : "; an agent that is older than this `pgseal` vouches for none: upgrade it");
  return err->status;
}

void rehearsal_offer_mac(const RehearsalSecret *secret, const char *job_id, const char *certificate, const char *role,
                         const char *database, char out[REHEARSAL_MAC_SIZE]) {
  CLEANUP(buffer_release) Buffer message = {0};
  append(&message, "pgseal rehearse offer");
  append(&message, job_id);
  append(&message, certificate);
  append(&message, role);
  append(&message, database);
  mac(secret, &message, out);
}

void rehearsal_password(const RehearsalSecret *secret, const char *job_id, char out[REHEARSAL_MAC_SIZE]) {
  CLEANUP(buffer_release) Buffer message = {0};
  append(&message, "pgseal rehearse password");
  append(&message, job_id);
  mac(secret, &message, out);
}
