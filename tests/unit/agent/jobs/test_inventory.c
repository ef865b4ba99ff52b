/* What a repository holds, told page by page: a directory with manifests and proofs as agents store them, and what may
 * lie beside them. (Listing behind a key is tested for each backend.) */
#include "tests/unit/common/manifest/support.h"

#include "agent/jobs/inventory.h"

#define DB "prod-api"
#define FIRST "01kb0000000000000000000000"
#define SECOND "01kb0000000000000000000001"
#define THIRD "01kb0000000000000000000002"

typedef struct Fixture {
  char dir[64];
  Repository *repository;
  Recipients *recipients;
  DecryptionKey *key, *other;
  SigningKey *signer;
  uint8_t public_key[PUBLIC_KEY_SIZE];
  uint64_t checks, stop_after;
  Error err;
} Fixture;

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  Error err;
  strcpy(f->dir, "/tmp/pgseal-test-inventory-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  for (int i = 0; i < 2; i++) {
    CLEANUP_FREE char *key = memory_format("%s/%d.key", f->dir, i),
                      *certificate = memory_format("%s/%d.crt", f->dir, i);
    const char *paths[] = {certificate};
    assert_ok(recipient_generate(key, certificate, "drill", 10, &err), &err);
    assert_ok(decryption_key_load(key, certificate, i ? &f->other : &f->key, &err), &err);
    if (i == 0)
      assert_ok(recipients_load(paths, 1, &f->recipients, &err), &err);
  }
  CLEANUP_FREE char *key = memory_format("%s/signing.key", f->dir), *public = memory_format("%s/signing.pub", f->dir);
  CLEANUP_FREE char *repository = memory_format("%s/repository", f->dir);
  assert_ok(signing_key_generate(key, public, &err), &err);
  assert_ok(signing_key_load(key, &f->signer, &err), &err);
  signing_key_public(f->signer, f->public_key);
  assert_ok(directory_repository_open(repository, &f->repository, &err), &err);
  f->stop_after = UINT64_MAX;
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  Error err;
  repository_close(f->repository);
  recipients_free(f->recipients);
  decryption_key_free(f->key);
  decryption_key_free(f->other);
  signing_key_free(f->signer);
  assert_ok(file_remove_tree(f->dir, &err), &err);
  free(f);
  return 0;
}

/* ---- what is stored ---- */

static void put(Fixture *f, const char *key, const char *text) {
  assert_ok(repository_put(f->repository, key, text, strlen(text), &f->err), &f->err);
}

static void put_manifest(Fixture *f, const char *id, int attempt) {
  CLEANUP_FREE char *prefix = manifest_prefix(DB, id, attempt), *key = manifest_key(prefix);
  CLEANUP_FREE char *segment = manifest_segment_key(prefix, 0);
  CLEANUP(manifest_release) Manifest manifest = {0};
  char digest[SHA256_HEX_SIZE];
  fill_manifest(&manifest);
  free(manifest.checkpoint_id);
  manifest.checkpoint_id = memory_strdup(id);
  manifest.attempt = attempt;
  json_t *json = manifest_to_json(&manifest);
  put(f, segment, "a segment");
  assert_ok(document_put(f->repository, key, json, "manifest", f->signer, f->recipients, digest, &f->err), &f->err);
  json_decref(json);
}

static void put_proof(Fixture *f, const char *id, int attempt, const char *drill, bool proven) {
  CLEANUP_FREE char *prefix = manifest_prefix(DB, id, attempt), *key = proof_key(prefix, drill);
  CLEANUP(proof_release) Proof proof = {0};
  char digest[SHA256_HEX_SIZE];
  fill_proof(&proof, proven);
  free(proof.drill_id);
  proof.drill_id = memory_strdup(drill);
  json_t *json = proof_to_json(&proof);
  assert_ok(document_put(f->repository, key, json, "proof", f->signer, f->recipients, digest, &f->err), &f->err);
  json_decref(json);
}

/* ---- what is told ---- */

static Status check(void *user, uint64_t checkpoints, Error *err) {
  Fixture *f = user;
  assert_int_equal(checkpoints, f->checks++);
  return f->checks > f->stop_after ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static Status try_page(Fixture *f, const char *after, const InventoryBounds *bounds, Pgseal__InventoryPage **out) {
  const StoredPlace place = {f->repository, f->key};
  const InventoryWatch watch = {check, f};
  f->checks = 0;
  *out = NULL;
  return inventory_page(&place, DB, after, bounds, &watch, out, &f->err);
}

static void free_page(Pgseal__InventoryPage **page) {
  if (*page)
    pgseal__inventory_page__free_unpacked(*page, NULL);
}
#define PAGE CLEANUP(free_page) Pgseal__InventoryPage

static Pgseal__InventoryPage *page_after(Fixture *f, const char *after, const InventoryBounds *bounds) {
  Pgseal__InventoryPage *page = NULL;
  assert_ok(try_page(f, after, bounds ? bounds : &inventory_bounds, &page), &f->err);
  assert_non_null(page);
  assert_true(pgseal__inventory_page__get_packed_size(page) <= (3u << 20)); /* of a frame */
  return page;
}

/* As the coordinator checks it. */
static void expect_signed(Fixture *f, const Pgseal__InventoryDocument *d, const char *purpose) {
  uint8_t signature[SIGNATURE_SIZE], key[PUBLIC_KEY_SIZE];
  char digest[SHA256_HEX_SIZE];
  assert_null(d->error);
  assert_true(document_signature(d->signature.data, d->signature.len, signature, key));
  assert_memory_equal(key, f->public_key, sizeof key);
  assert_true(signing_verify(key, purpose, d->object.data, d->object.len, signature));
  sha256_hex(d->object.data, d->object.len, digest);
  assert_string_equal(digest, d->sha256);
  assert_int_equal(d->size, d->object.len);
}

static void test_told_as_it_is(void **state) {
  Fixture *f = *state;
  put_manifest(f, FIRST, 2);
  put_proof(f, FIRST, 2, "01kb1111111111111111111111", true);
  put_proof(f, FIRST, 2, "01kb1111111111111111111112", false);
  put(f, DB "/" FIRST "/attempt-1/000000.zst.cms", "lost");
  put(f, DB "/" SECOND "/attempt-10/000000.zst.cms", "12345");
  put(f, DB "/" SECOND "/attempt-0/000000.zst.cms", "?");
  put(f, DB "/notes", "?");
  put(f, DB "2/" FIRST "/attempt-1/manifest.json.cms", "another database's");
  PAGE *page = page_after(f, "", NULL);
  assert_int_equal(page->n_attempts, 3);
  assert_string_equal(page->next, "");
  assert_int_equal(page->strays, 2);
  assert_string_equal(page->stray_keys[1], DB "/notes");
  const Pgseal__InventoryAttempt *lost = page->attempts[0], *whole = page->attempts[1], *never = page->attempts[2];
  assert_true(lost->attempt == 1 && !lost->manifest && lost->n_proofs == 0);
  assert_true(never->attempt == 10 && !never->manifest && never->objects == 1 && never->bytes == 5);
  assert_string_equal(whole->checkpoint_id, FIRST);
  assert_true(whole->attempt == 2 && whole->objects == 7 && whole->n_proofs == 2 && whole->proofs_left_out == 0);
  const Pgseal__InventoryManifest *m = whole->manifest;
  expect_signed(f, m->document, "manifest");
  assert_string_equal(m->document->key, DB "/" FIRST "/attempt-2/manifest.json.cms");
  assert_string_equal(m->database, DB);
  assert_string_equal(m->agent, "dump-1");
  assert_true(m->attempt == 2 && m->dump->rows == 1000 && m->dump->tables == 1 && m->dump->server_major == 15);
  assert_string_equal(m->dump->manifest_sha256, m->document->sha256);
  assert_string_equal(m->dump->table_list->tables[0]->name, "orders \"odd\"");
  assert_true(m->dump->table_list->n_tables == 1 && m->dump->table_list->more == 0);
  assert_string_equal(m->dump->source->collation, "de_DE.utf8");
  for (int i = 0; i < 2; i++) { /* the newest first */
    CLEANUP(proof_release) Proof proof = {0};
    json_t *json = json_loads(whole->proofs[i]->json, 0, NULL);
    expect_signed(f, whole->proofs[i]->document, "proof");
    assert_ok(proof_from_json(json, &proof, &f->err), &f->err);
    assert_int_equal(proof.outcome, i ? OUTCOME_PROVEN : OUTCOME_FAILED);
    json_decref(json);
  }
}

static void test_pages(void **state) {
  Fixture *f = *state;
  static const char *const ids[] = {FIRST, SECOND, THIRD};
  for (int i = 0; i < 3; i++) {
    put_manifest(f, ids[i], 1);
    put_proof(f, ids[i], 1, "01kb1111111111111111111111", true);
  }
  InventoryBounds one = inventory_bounds, small = inventory_bounds;
  one.checkpoints = 1;
  small.enough = 1;
  for (int kind = 0; kind < 2; kind++) {
    const char *after = "";
    for (int i = 0; i < 3; i++) {
      PAGE *page = page_after(f, after, kind ? &small : &one);
      assert_int_equal(page->n_attempts, 1);
      assert_string_equal(page->attempts[0]->checkpoint_id, ids[i]);
      assert_string_equal(page->next, i < 2 ? ids[i] : "");
      after = ids[i];
    }
    PAGE *end = page_after(f, after, &one);
    assert_true(end->n_attempts == 0 && !*end->next);
  }
}

/* What does not fit is named with its digest, or left out and counted; never cut. */
static void test_bounds(void **state) {
  Fixture *f = *state;
  put_manifest(f, FIRST, 1);
  for (int i = 0; i < 9; i++) {
    CLEANUP_FREE char *drill = memory_format("01kb111111111111111111111%d", i);
    put_proof(f, FIRST, 1, drill, true);
  }
  InventoryBounds bounds = inventory_bounds;
  bounds.proofs = 4;
  PAGE *few = page_after(f, "", &bounds);
  assert_int_equal(few->attempts[0]->n_proofs, 4);
  assert_int_equal(few->attempts[0]->proofs_left_out, 5);
  assert_non_null(strstr(few->attempts[0]->proofs[0]->document->key, "1118.json"));
  bounds = inventory_bounds;
  bounds.most = 12000;
  PAGE *tight = page_after(f, "", &bounds);
  assert_true(tight->attempts[0]->n_proofs > 0 && tight->attempts[0]->proofs_left_out > 0);
  assert_int_equal(tight->attempts[0]->n_proofs + tight->attempts[0]->proofs_left_out, 9);
  assert_true(pgseal__inventory_page__get_packed_size(tight) <= bounds.most);
  bounds = inventory_bounds;
  bounds.object = 10;
  PAGE *large = page_after(f, "", &bounds);
  const Pgseal__InventoryManifest *m = large->attempts[0]->manifest;
  assert_int_equal(m->document->object.len, 0);
  assert_true(m->document->size > 10 && strlen(m->document->sha256) == 64 && m->document->signature.len > 0 && m->dump);
  assert_non_null(large->attempts[0]->proofs[0]->document->error); /* no proof is as large as that */
}

/* Damaged documents are told, and the rest is told all the same. */
static void test_damaged(void **state) {
  Fixture *f = *state;
  put_manifest(f, FIRST, 1);
  put_manifest(f, SECOND, 1);
  put(f, DB "/" THIRD "/attempt-1/manifest.json.cms", "no manifest");
  CLEANUP_FREE char *path = memory_format("%s/repository/" DB "/" FIRST "/attempt-1/manifest.json.cms", f->dir);
  CLEANUP_FREE char *signature =
      memory_format("%s/repository/" DB "/" SECOND "/attempt-1/manifest.json.cms.sig", f->dir);
  FILE *file = fopen(path, "r+b");
  assert_non_null(file);
  fseek(file, -5, SEEK_END);
  fputc('x', file);
  fclose(file);
  assert_int_equal(remove(signature), 0);
  PAGE *page = page_after(f, "", NULL);
  assert_int_equal(page->n_attempts, 3);
  assert_string_equal(page->attempts[0]->manifest->document->error->code, "segment_corrupt");
  assert_true(page->attempts[1]->manifest->dump && page->attempts[1]->manifest->document->signature.len == 0);
  assert_string_equal(page->attempts[2]->manifest->document->error->code, "segment_corrupt");
  DecryptionKey *key = f->key;
  f->key = f->other;
  PAGE *locked = page_after(f, "", NULL);
  f->key = key;
  assert_string_equal(locked->attempts[1]->manifest->document->error->code, "key_mismatch");
}

static void test_refusals(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = NULL;
  assert_int_equal(try_page(f, "", &inventory_bounds, &page), ERR_UNAVAILABLE); /* nothing at all: likely another one */
  put(f, "other/x", "1");
  PAGE *nothing = page_after(f, "", NULL);
  assert_int_equal(nothing->n_attempts, 0);
  assert_int_equal(try_page(f, "../x", &inventory_bounds, &page), ERR_PROTOCOL);
  put_manifest(f, FIRST, 1);
  put_manifest(f, SECOND, 1);
  f->stop_after = 1;
  assert_int_equal(try_page(f, "", &inventory_bounds, &page), ERR_CANCELED);
  assert_null(page);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_told_as_it_is, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
      cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
      cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
      cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
