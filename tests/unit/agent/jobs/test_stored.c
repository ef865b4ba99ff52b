/* What is read back is held against what is known, fact by fact: each of them counts where all others are right. */
#include "agent/jobs/stored.h"
#include "tests/unit/common/manifest/support.h"

#include <unistd.h>

#define OTHER_HEX "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

typedef struct Fixture {
  char dir[64], sha256[SHA256_HEX_SIZE];
  StoredPlace place;
  DecryptionKey *key;
  uint8_t public_key[PUBLIC_KEY_SIZE], other_public_key[PUBLIC_KEY_SIZE];
} Fixture;

static char *in_dir(const Fixture *f, const char *name) {
  return memory_format("%s/%s", f->dir, name);
}

static SigningKey *make_signer(const Fixture *f, const char *name, uint8_t public_key[PUBLIC_KEY_SIZE]) {
  Error err;
  SigningKey *signer = NULL;
  CLEANUP_FREE char *private = in_dir(f, name), *public = memory_format("%s.pub", private);
  assert_ok(signing_key_generate(private, public, &err), &err);
  assert_ok(signing_key_load(private, &signer, &err), &err);
  signing_key_public(signer, public_key);
  return signer;
}

/* The manifest at `prefix`, whatever it says of itself. */
static void put_manifest(Fixture *f, const char *prefix, const Recipients *recipients, const SigningKey *signer) {
  Error err;
  CLEANUP(manifest_release) Manifest manifest = {0};
  fill_manifest(&manifest);
  CLEANUP(free_json) json_t *json = manifest_to_json(&manifest);
  CLEANUP_FREE char *key = manifest_key(prefix);
  assert_ok(document_put(f->place.repository, key, json, "manifest", signer, recipients, f->sha256, &err), &err);
}

static const char PREFIX[] = "prod-api/01kb0000000000000000000000/attempt-2/";
static const char *const elsewhere[] = {"prod-api/01kb0000000000000000000000/attempt-1/",
                                        "prod-api/01kb0000000000000000000001/attempt-2/",
                                        "other-api/01kb0000000000000000000000/attempt-2/"};

static int setup(void **state) {
  Error err;
  Fixture *f = memory_alloc(sizeof *f);
  *state = f;
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-stored-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  CLEANUP_FREE char *root = in_dir(f, "repository"), *key = in_dir(f, "drill.key"),
                    *certificate = in_dir(f, "drill.crt");
  assert_ok(directory_repository_open(root, &f->place.repository, &err), &err);
  assert_ok(recipient_generate(key, certificate, "drill", 1, &err), &err);
  assert_ok(decryption_key_load(key, certificate, &f->key, &err), &err);
  f->place.key = f->key;
  const char *paths[] = {certificate};
  Recipients *recipients = NULL;
  assert_ok(recipients_load(paths, 1, &recipients, &err), &err);
  SigningKey *signer = make_signer(f, "agent", f->public_key), *other = make_signer(f, "other", f->other_public_key);
  for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++)
    put_manifest(f, elsewhere[i], recipients, signer);
  put_manifest(f, PREFIX, recipients, signer);
  signing_key_free(signer);
  signing_key_free(other);
  recipients_free(recipients);
  return 0;
}

static int teardown(void **state) {
  Error err;
  Fixture *f = *state;
  repository_close(f->place.repository);
  decryption_key_free(f->key);
  assert_ok(file_remove_tree(f->dir, &err), &err);
  free(f);
  return 0;
}

static StoredIdentity right(const Fixture *f) {
  return (StoredIdentity){.public_key = f->public_key,
                          .sha256 = f->sha256,
                          .checkpoint_id = "01kb0000000000000000000000",
                          .database = "prod-api",
                          .prefix = PREFIX,
                          .agent = "dump-1",
                          .bootstrap_role = "postgres",
                          .major = 15};
}

static void accepted(const Fixture *f, const StoredIdentity *identity) {
  Error err;
  CLEANUP(manifest_release) Manifest manifest = {0};
  assert_ok(stored_manifest(&f->place, identity, &manifest, &err), &err);
  assert_string_equal("pre-deploy-4f3a9c1 \xc3\xa9", manifest.tag);
}

static void refused(const Fixture *f, const StoredIdentity *identity, const char *because) {
  Error err;
  Manifest manifest = {0};
  assert_int_equal(ERR_MANIFEST_INVALID, stored_manifest(&f->place, identity, &manifest, &err));
  if (!strstr(err.message, because))
    fail_msg("\"%s\" is not because of \"%s\"", err.message, because);
  assert_null(manifest.tag);
}

static void the_manifest_that_is_meant(void **state) {
  const Fixture *f = *state;
  StoredIdentity identity = right(f);
  accepted(f, &identity);
  identity.agent = ""; /* what is not known is not asked for */
  identity.bootstrap_role = NULL;
  identity.major = 0;
  accepted(f, &identity);
  identity.agent = NULL;
  accepted(f, &identity);
}

static void any_other_manifest(void **state) {
  const Fixture *f = *state;
  StoredIdentity identity = right(f);
  identity.public_key = f->other_public_key;
  refused(f, &identity, "sign");
  identity = right(f), identity.sha256 = OTHER_HEX;
  refused(f, &identity, "manifest's SHA-256 is");
  identity = right(f), identity.checkpoint_id = "01kb0000000000000000000001";
  refused(f, &identity, "manifest's checkpoint is");
  identity = right(f), identity.database = "other-api";
  refused(f, &identity, "manifest's database is");
  identity = right(f), identity.agent = "dump-2";
  refused(f, &identity, "manifest's agent is");
  identity = right(f), identity.bootstrap_role = "root";
  refused(f, &identity, "manifest's bootstrap role is");
  identity = right(f), identity.major = 16;
  refused(f, &identity, "PostgreSQL 15 server, the dump said 16");
}

/* Signed, and right in all that it says, but lying where another one's manifest, or another attempt's, would lie. Those
 * are other objects than the one that was announced, too: their own digests are given here. */
static void the_manifest_in_another_place(void **state) {
  const Fixture *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(elsewhere); i++) {
    Error err;
    CLEANUP(buffer_release) Buffer stored = {0};
    CLEANUP_FREE char *key = manifest_key(elsewhere[i]);
    char sha256[SHA256_HEX_SIZE];
    assert_ok(repository_get_stored(f->place.repository, key, 1 << 20, &stored, &err), &err);
    sha256_hex(stored.data, stored.size, sha256);
    StoredIdentity identity = right(f);
    identity.prefix = elsewhere[i];
    identity.sha256 = sha256;
    refused(f, &identity, "manifest's place is");
  }
}

static StoredRead read_of(const ManifestSegment *segment) {
  StoredRead read = {.size = segment->size, .plain_size = segment->plain_size};
  strcpy(read.sha256, segment->sha256);
  strcpy(read.plain_sha256, segment->plain_sha256);
  return read;
}

static void corrupt(const StoredRead *read, const ManifestSegment *expected, bool stored_as_expected) {
  Error err;
  assert_int_equal(ERR_SEGMENT_CORRUPT, stored_check("000000.zst.cms", read, expected, &err));
  assert_string_equal("000000.zst.cms", err.object);
  assert_int_equal(stored_as_expected, stored_is(read, expected));
}

static void objects_by_each_fact(void **state) {
  (void)state;
  Error err;
  const ManifestSegment expected = segment_of(0, 50000);
  StoredRead read = read_of(&expected);
  assert_ok(stored_check("000000.zst.cms", &read, &expected, &err), &err);
  assert_true(stored_is(&read, &expected));
  read.size++;
  corrupt(&read, &expected, false);
  read = read_of(&expected), strcpy(read.sha256, OTHER_HEX);
  corrupt(&read, &expected, false);
  read = read_of(&expected), read.plain_size--;
  corrupt(&read, &expected, true);
  read = read_of(&expected), strcpy(read.plain_sha256, OTHER_HEX);
  corrupt(&read, &expected, true);
}

/* What cannot be opened was read, too: damage is told from a foreign key by what is stored. */
static void what_is_read_is_described(void **state) {
  Error err;
  Fixture *f = *state;
  CLEANUP_FREE char *key = manifest_key(PREFIX);
  CLEANUP(buffer_release) Buffer plain = {0}, none = {0}, stored = {0};
  StoredRead read = {0}, torn = {0};
  char sha256[SHA256_HEX_SIZE];
  assert_ok(stored_read(&f->place, key, &plain, &read, &err), &err);
  assert_string_equal(f->sha256, read.sha256);
  assert_int_equal(plain.size, read.plain_size);
  sha256_hex(plain.data, plain.size, sha256);
  assert_string_equal(sha256, read.plain_sha256);
  assert_ok(repository_get_stored(f->place.repository, key, 1 << 20, &stored, &err), &err);
  assert_int_equal(stored.size, read.size);
  stored.data[stored.size / 2] ^= 1;
  assert_ok(repository_put(f->place.repository, "torn", stored.data, stored.size, &err), &err);
  assert_int_equal(ERR_SEGMENT_CORRUPT, stored_read(&f->place, "torn", &none, &torn, &err));
  assert_string_equal("torn", err.object);
  sha256_hex(stored.data, stored.size, sha256);
  assert_string_equal(sha256, torn.sha256);
  assert_int_equal(stored.size, torn.size);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_manifest_that_is_meant),    cmocka_unit_test(any_other_manifest),
      cmocka_unit_test(the_manifest_in_another_place), cmocka_unit_test(objects_by_each_fact),
      cmocka_unit_test(what_is_read_is_described),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
