/* Signed documents in a repository, and the commands of docs/open-without-pgseal.md run on one, to the letter. */
#include "tests/unit/common/manifest/support.h"

#include <unistd.h>

#include "common/base/process.h"
#include "common/base/text.h"

enum { FILE_LIMIT = 1 << 20 };
static const char PREFIX[] = "prod-api/01kb0000000000000000000000/attempt-2/";
static const char ROLES[] = "CREATE ROLE app;\n";

typedef struct Fixture {
  char dir[64];
  char *root, *key_path, *certificate, *signing_path, *public_path;
  Repository *repository;
  Recipients *recipients;
  DecryptionKey *key, *foreign;
  SigningKey *signer, *other_signer;
  uint8_t public_key[PUBLIC_KEY_SIZE], other_public_key[PUBLIC_KEY_SIZE];
} Fixture;

static char *in_dir(const Fixture *f, const char *name) {
  return memory_format("%s/%s", f->dir, name);
}

static void make_keys(Fixture *f) {
  Error err;
  CLEANUP_FREE char *foreign_key = in_dir(f, "foreign.key"), *foreign = in_dir(f, "foreign.crt"),
                    *other = in_dir(f, "other.key"), *other_public = in_dir(f, "other.pub");
  assert_ok(recipient_generate(f->key_path, f->certificate, "escrow", 1, &err), &err);
  assert_ok(recipient_generate(foreign_key, foreign, "foreign", 1, &err), &err);
  assert_ok(signing_key_generate(f->signing_path, f->public_path, &err), &err);
  assert_ok(signing_key_generate(other, other_public, &err), &err);
  const char *paths[] = {f->certificate};
  assert_ok(recipients_load(paths, 1, &f->recipients, &err), &err);
  assert_ok(decryption_key_load(f->key_path, f->certificate, &f->key, &err), &err);
  assert_ok(decryption_key_load(foreign_key, foreign, &f->foreign, &err), &err);
  assert_ok(signing_key_load(f->signing_path, &f->signer, &err), &err);
  assert_ok(signing_key_load(other, &f->other_signer, &err), &err);
  signing_key_public(f->signer, f->public_key);
  signing_key_public(f->other_signer, f->other_public_key);
}

static int setup(void **state) {
  Error err;
  Fixture *f = memory_alloc(sizeof *f);
  *state = f;
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-document-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  f->root = in_dir(f, "repository");
  f->key_path = in_dir(f, "escrow.key");
  f->certificate = in_dir(f, "escrow.crt");
  f->signing_path = in_dir(f, "agent.key");
  f->public_path = in_dir(f, "agent.pub");
  assert_ok(directory_repository_open(f->root, &f->repository, &err), &err);
  make_keys(f);
  return 0;
}

static int teardown(void **state) {
  Error err;
  Fixture *f = *state;
  repository_close(f->repository);
  recipients_free(f->recipients);
  decryption_key_free(f->key);
  decryption_key_free(f->foreign);
  signing_key_free(f->signer);
  signing_key_free(f->other_signer);
  assert_ok(file_remove_tree(f->dir, &err), &err);
  char *const texts[] = {f->root, f->key_path, f->certificate, f->signing_path, f->public_path};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    free(texts[i]);
  free(f);
  return 0;
}

static void put_document(Fixture *f, const char *key, const char *purpose, char sha256[SHA256_HEX_SIZE]) {
  Error err;
  CLEANUP(free_json) json_t *json = json_pack("{s:i, s:s}", "version", 1, "text", "caf\xc3\xa9");
  assert_ok(document_put(f->repository, key, json, purpose, f->signer, f->recipients, sha256, &err), &err);
}

static Status get_document(Fixture *f, const char *key, const char *purpose, const uint8_t *public_key,
                           const DecryptionKey *decrypt, Error *err) {
  json_t *json = NULL;
  char sha256[SHA256_HEX_SIZE] = "untouched";
  Status status = document_get(f->repository, key, purpose, public_key, decrypt, &json, sha256, err);
  if (status != STATUS_OK) {
    assert_null(json);
    assert_string_equal(sha256, "untouched");
    assert_non_null(strstr(err->object, key));
    assert_non_null(strstr(err->message, key));
  }
  json_decref(json);
  return status;
}

static void read_object(Fixture *f, const char *key, Buffer *out) {
  Error err;
  assert_ok(repository_get(f->repository, key, FILE_LIMIT, out, &err), &err);
}

/* What somebody with a shell on the storage can do. */
static void overwrite(Fixture *f, const char *key, const Buffer *data) {
  Error err;
  CLEANUP_FREE char *path = memory_format("%s/%s", f->root, key);
  assert_ok(file_write_atomic(path, 0600, data->data, data->size, &err), &err);
}

static void test_put_get(void **state) {
  Fixture *f = *state;
  Error err;
  char put[SHA256_HEX_SIZE], got[SHA256_HEX_SIZE], stored[SHA256_HEX_SIZE];
  put_document(f, "a/manifest.json.cms", "manifest", put);
  CLEANUP(free_json) json_t *json = NULL;
  assert_ok(document_get(f->repository, "a/manifest.json.cms", "manifest", f->public_key, f->key, &json, got, &err),
            &err);
  assert_string_equal(json_string_value(json_object_get(json, "text")), "caf\xc3\xa9");
  CLEANUP(buffer_release) Buffer object = {0};
  read_object(f, "a/manifest.json.cms", &object);
  sha256_hex(object.data, object.size, stored);
  assert_string_equal(put, stored);
  assert_string_equal(got, stored);
  assert_null(memmem(object.data, object.size, "version", 7)); /* encrypted */
}

static void test_signature_object(void **state) {
  Fixture *f = *state;
  char sha256[SHA256_HEX_SIZE], hex[PUBLIC_KEY_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  CLEANUP(buffer_release) Buffer text = {0};
  read_object(f, "m.sig", &text);
  CLEANUP(free_json) json_t *json = json_loadb((const char *)text.data, text.size, 0, NULL);
  text_hex(f->public_key, PUBLIC_KEY_SIZE, hex);
  assert_string_equal(json_string_value(json_object_get(json, "algorithm")), "Ed25519");
  assert_string_equal(json_string_value(json_object_get(json, "public_key")), hex);
  assert_int_equal(json_string_length(json_object_get(json, "signature")), 2 * SIGNATURE_SIZE);
}

static void test_never_put_twice(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  CLEANUP(free_json) json_t *json = json_object();
  assert_int_equal(document_put(f->repository, "m", json, "manifest", f->signer, f->recipients, sha256, &err),
                   ERR_OBJECT_EXISTS);
  assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), STATUS_OK);
}

static void test_only_the_agents_signature_counts(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  put_document(f, "p", "proof", sha256);
  assert_int_equal(get_document(f, "m", "manifest", f->other_public_key, f->key, &err), ERR_MANIFEST_INVALID);
  assert_int_equal(get_document(f, "p", "proof", f->other_public_key, f->key, &err), ERR_PROOF_INVALID);
  /* a proof is no manifest, though the same agent signed both */
  assert_int_equal(get_document(f, "p", "manifest", f->public_key, f->key, &err), ERR_MANIFEST_INVALID);
  assert_int_equal(get_document(f, "m", "proof", f->public_key, f->key, &err), ERR_PROOF_INVALID);
}

/* Whoever can write to the repository can encrypt to the recipients and sign with a key of their own. */
static void test_replaced_with_a_forgery(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  CLEANUP(free_json) json_t *json = json_pack("{s:i}", "version", 1);
  assert_ok(document_put(f->repository, "forged", json, "manifest", f->other_signer, f->recipients, sha256, &err),
            &err);
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer signature = {0};
  read_object(f, "forged", &object);
  read_object(f, "forged.sig", &signature);
  overwrite(f, "m", &object);
  assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), ERR_MANIFEST_INVALID);
  overwrite(f, "m.sig", &signature);
  assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), ERR_MANIFEST_INVALID);
}

/* The signature is over every stored byte: what CMS does not protect, this does. */
static void test_every_byte_is_signed(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  CLEANUP(buffer_release) Buffer object = {0};
  read_object(f, "m", &object);
  for (size_t i = 0; i < object.size; i += 7) {
    object.data[i] ^= 1;
    overwrite(f, "m", &object);
    assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), ERR_MANIFEST_INVALID);
    object.data[i] ^= 1;
  }
  overwrite(f, "m", &object);
  assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), STATUS_OK);
}

static void test_absent(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  assert_int_equal(get_document(f, "no/such", "manifest", f->public_key, f->key, &err), ERR_UNAVAILABLE);
  assert_non_null(strstr(err.message, "holds nothing at all"));
  put_document(f, "m", "manifest", sha256);
  assert_int_equal(get_document(f, "no/such", "manifest", f->public_key, f->key, &err), ERR_SEGMENT_MISSING);
  assert_ok(repository_remove(f->repository, "m.sig", &err), &err);
  assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), ERR_SEGMENT_MISSING);
  assert_string_equal(err.object, "m.sig");
}

static void test_unreadable_signatures(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  static const char *const texts[] = {"",
                                      "{}",
                                      "[]",
                                      "null",
                                      "{\"algorithm\":\"Ed25519\"}",
                                      "{\"algorithm\":\"Ed25519\",\"signature\":\"00\"}",
                                      "{\"algorithm\":\"none\",\"signature\":\"\"}",
                                      "{\"algorithm\":\"Ed25519\",\"signature\":5}"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    CLEANUP(buffer_release) Buffer text = {0};
    buffer_append_text(&text, texts[i]);
    overwrite(f, "m.sig", &text);
    assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->key, &err), ERR_MANIFEST_INVALID);
  }
}

static void test_wrong_decryption_key(void **state) {
  Fixture *f = *state;
  Error err;
  char sha256[SHA256_HEX_SIZE];
  put_document(f, "m", "manifest", sha256);
  assert_int_equal(get_document(f, "m", "manifest", f->public_key, f->foreign, &err), ERR_KEY_MISMATCH);
}

static ManifestSegment put_segment(Fixture *f, char *key, const void *plain, size_t size, uint64_t offset) {
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  ManifestSegment segment = {.offset = offset, .plain_size = size};
  assert_ok(segment_encode(f->recipients, 1, plain, size, &object, &err), &err);
  assert_ok(repository_put(f->repository, key, object.data, object.size, &err), &err);
  segment.size = object.size;
  sha256_hex(object.data, object.size, segment.sha256);
  sha256_hex(plain, size, segment.plain_sha256);
  free(key);
  return segment;
}

/* A checkpoint of twelve segments, whose order matters. */
static void put_checkpoint(Fixture *f, Buffer *archive) {
  Error err;
  CLEANUP(manifest_release) Manifest m = {0};
  fill_manifest(&m);
  m.segment_count = 0;
  free(m.segments);
  m.segments = NULL;
  for (int i = 0; i < 12; i++) {
    CLEANUP(buffer_release) Buffer part = {0};
    buffer_append_format(&part, "part %d of the archive\n", i);
    ManifestSegment segment =
        put_segment(f, manifest_segment_key(PREFIX, (size_t)i), part.data, part.size, archive->size);
    ARRAY_PUSH(m.segments, m.segment_count, segment);
    buffer_append(archive, part.data, part.size);
  }
  m.roles = put_segment(f, manifest_roles_key(PREFIX), ROLES, strlen(ROLES), 0);
  m.fingerprint.archive_size = archive->size;
  CLEANUP(free_json) json_t *json = manifest_to_json(&m);
  CLEANUP_FREE char *key = manifest_key(PREFIX);
  char sha256[SHA256_HEX_SIZE];
  assert_ok(document_put(f->repository, key, json, "manifest", f->signer, f->recipients, sha256, &err), &err);
}

/* The shell block of the page that starts with the comment "# <name>". */
static char *block_of_page(const char *name) {
  Error err;
  CLEANUP(buffer_release) Buffer page = {0};
  assert_ok(file_read("docs/open-without-pgseal.md", FILE_LIMIT, &page, &err), &err);
  CLEANUP_FREE char *start = memory_format("```sh\n# %s\n", name);
  const char *from = strstr(buffer_text(&page), start);
  assert_non_null(from);
  from += strlen("```sh\n");
  const char *end = strstr(from, "\n```");
  assert_non_null(end);
  return memory_strndup(from, (size_t)(end - from) + 1);
}

static Status run_block(const Fixture *f, const char *name, const char *out, Error *err) {
  CLEANUP_FREE char *script = block_of_page(name);
  CLEANUP_FREE char *where = memory_format("%s/%s", f->root, PREFIX), *out_setting = memory_format("OUT=%s", out),
                    *key = memory_format("KEY=%s", f->key_path), *public = memory_format("PUBLIC=%s", f->public_path),
                    *certificate = memory_format("CERTIFICATE=%s", f->certificate);
  const char *argv[] = {"bash", "-c", script, NULL};
  const char *env[] = {key, certificate, public, out_setting, NULL};
  ProcessOptions options = {.argv = argv, .env = env, .work_dir = where, .pipe_stdout = true};
  CLEANUP(buffer_release) Buffer ignored = {0};
  return process_run(&options, FILE_LIMIT, &ignored, err);
}

static void expect_file(const char *dir, const char *name, const char *content) {
  Error err;
  CLEANUP_FREE char *path = memory_format("%s/%s", dir, name);
  CLEANUP(buffer_release) Buffer found = {0};
  assert_ok(file_read(path, FILE_LIMIT, &found, &err), &err);
  assert_string_equal(buffer_text(&found), content);
}

static void test_page_opens_verifies_compares(void **state) {
  Fixture *f = *state;
  Error err;
  CLEANUP_FREE char *out = in_dir(f, "opened");
  CLEANUP(buffer_release) Buffer archive = {0};
  put_checkpoint(f, &archive);
  assert_ok(run_block(f, "open", out, &err), &err);
  expect_file(out, "archive.dump", buffer_text(&archive));
  expect_file(out, "roles.sql", ROLES);
  assert_ok(run_block(f, "verify", out, &err), &err);
  assert_ok(run_block(f, "compare", out, &err), &err);
}

static void test_page_notices(void **state) {
  Fixture *f = *state;
  Error err;
  CLEANUP_FREE char *out = in_dir(f, "opened"), *segment = manifest_segment_key(PREFIX, 5), *key = manifest_key(PREFIX);
  CLEANUP(buffer_release) Buffer archive = {0};
  CLEANUP(buffer_release) Buffer object = {0};
  put_checkpoint(f, &archive);
  assert_ok(run_block(f, "open", out, &err), &err);
  read_object(f, segment, &object);
  object.data[60] ^= 1;
  overwrite(f, segment, &object);
  assert_int_equal(run_block(f, "compare", out, &err), ERR_TOOL);
  read_object(f, key, &object);
  object.data[60] ^= 1;
  overwrite(f, key, &object);
  assert_int_equal(run_block(f, "verify", out, &err), ERR_TOOL);
  free(f->key_path);
  f->key_path = in_dir(f, "foreign.key");
  assert_int_equal(run_block(f, "open", out, &err), ERR_TOOL);
}

/* The page's way from the key's hexadecimal digits to a PEM file. */
static void test_page_makes_a_key_of_digits(void **state) {
  Fixture *f = *state;
  Error err;
  CLEANUP(buffer_release) Buffer page = {0};
  CLEANUP(buffer_release) Buffer made = {0};
  assert_ok(file_read("docs/open-without-pgseal.md", FILE_LIMIT, &page, &err), &err);
  const char *from = strstr(buffer_text(&page), "\n{ printf '\\x30");
  assert_non_null(from);
  const char *end = strstr(from, "-out agent.pub");
  assert_non_null(end);
  char hex[PUBLIC_KEY_HEX_SIZE];
  text_hex(f->public_key, PUBLIC_KEY_SIZE, hex);
  CLEANUP_FREE char *command = memory_strndup(from, (size_t)(end - from));
  CLEANUP_FREE char *script = memory_format("set -eo pipefail; HEX=%s; %s", hex, command);
  char *name = strstr(script, "echo HEX");
  assert_non_null(name);
  CLEANUP_FREE char *filled = memory_format("%.*secho $HEX%s", (int)(name - script), script, name + strlen("echo HEX"));
  const char *argv[] = {"bash", "-c", filled, NULL};
  ProcessOptions options = {.argv = argv, .pipe_stdout = true};
  assert_ok(process_run(&options, FILE_LIMIT, &made, &err), &err);
  CLEANUP(buffer_release) Buffer expected = {0};
  assert_ok(file_read(f->public_path, FILE_LIMIT, &expected, &err), &err);
  assert_string_equal(buffer_text(&made), buffer_text(&expected));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_put_get),
      TEST(test_signature_object),
      TEST(test_never_put_twice),
      TEST(test_only_the_agents_signature_counts),
      TEST(test_replaced_with_a_forgery),
      TEST(test_every_byte_is_signed),
      TEST(test_absent),
      TEST(test_unreadable_signatures),
      TEST(test_wrong_decryption_key),
      TEST(test_page_opens_verifies_compares),
      TEST(test_page_notices),
      TEST(test_page_makes_a_key_of_digits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
