/* What is not believed of a repository: nothing becomes sealed but by a proof of an agent that may drill, over the very
 * manifest that is there. */
#include "tests/unit/coordinator/dispatch/rebuild.h"

static void flip(ProtobufCBinaryData *bytes) {
  bytes->data[bytes->len / 2] ^= 1;
}

static void take_text(char **field, const char *text) {
  free(*field);
  *field = memory_strdup(text);
}

static void manifest_altered(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  flip(&a->manifest->document->object);
}
static void manifest_digest(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  take_text(&a->manifest->document->sha256, OTHER);
}
static void manifest_unsigned(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->manifest->document->signature.len = 0;
}
static void manifest_garbage(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->manifest->document->signature.data[3] = '"';
}
static void manifest_of_driller(Fixture *f, Pgseal__InventoryAttempt *a) {
  pgseal__inventory_manifest__free_unpacked(a->manifest, NULL);
  add_manifest(f, a, DRILLER);
}
static void manifest_of_nobody(Fixture *f, Pgseal__InventoryAttempt *a) {
  pgseal__inventory_manifest__free_unpacked(a->manifest, NULL);
  add_manifest(f, a, NOBODY);
  take_text(&a->manifest->agent, "dumper"); /* he says */
}
static void manifest_of_another(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->manifest->checkpoint_id[25] = 'z';
}
static void manifest_of_other_database(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  take_text(&a->manifest->database, "prod-api");
}
static void manifest_of_other_attempt(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->manifest->attempt = 2;
}
static void manifest_elsewhere(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->manifest->document->key[0] = 'x';
}
static void manifest_locked(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  Pgseal__Failure *failure = a->manifest->document->error = memory_alloc(sizeof *failure);
  pgseal__failure__init(failure);
  failure->code = memory_strdup("key_mismatch");
  failure->message = memory_strdup("not for this key");
}
static void proof_altered(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  flip(&a->proofs[0]->document->object);
}
static void proof_not_told(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->proofs[0]->document->object.len = 0;
}
static void proof_of_dumper(Fixture *f, Pgseal__InventoryAttempt *a) {
  pgseal__inventory_proof__free_unpacked(a->proofs[0], NULL);
  a->n_proofs = 0;
  add_proof(f, a, DUMPER, true);
}
static void proof_of_nobody(Fixture *f, Pgseal__InventoryAttempt *a) {
  CLEANUP_FREE char *text = memory_strdup(a->proofs[0]->json), *key = memory_strdup(a->proofs[0]->document->key);
  pgseal__inventory_document__free_unpacked(a->proofs[0]->document, NULL);
  a->proofs[0]->document = document(f, STEAL(key), "proof", NOBODY, text);
}
static void proof_as_verdict(Fixture *f, Pgseal__InventoryAttempt *a) {
  CLEANUP_FREE char *text = memory_strdup(a->proofs[0]->json), *key = memory_strdup(a->proofs[0]->document->key);
  pgseal__inventory_document__free_unpacked(a->proofs[0]->document, NULL);
  a->proofs[0]->document = document(f, STEAL(key), "verdict", DRILLER, text);
}
static void proof_swap(Pgseal__InventoryAttempt *a, const char *what, const char *with) {
  char *at = strstr(a->proofs[0]->json, what);
  assert_non_null(at);
  memcpy(at, with, strlen(with));
}
static void proof_of_another(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  proof_swap(a, a->checkpoint_id, "01kaj93m7r00000000000000zz");
}
static void proof_elsewhere(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->proofs[0]->document->key[0] = 'x';
}
static void proof_of_other_manifest(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  proof_swap(a, a->manifest->document->sha256, MANIFEST);
}
static void proof_of_other_rows(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->manifest->dump->rows = 51;
  a->manifest->dump->table_list->tables[0]->rows++;
}
static void proof_garbage(Fixture *f, Pgseal__InventoryAttempt *a) {
  (void)f;
  a->proofs[0]->json[0] = '[';
}

static const struct {
  const char *reason;
  void (*harm)(Fixture *f, Pgseal__InventoryAttempt *a);
  bool stored; /* its manifest may be believed */
} harms[] = {{"bad_signature", manifest_altered, false},
             {"bad_signature", manifest_digest, false},
             {"no_signature", manifest_unsigned, false},
             {"no_signature", manifest_garbage, false},
             {"not_allowed", manifest_of_driller, false},
             {"unknown_key", manifest_of_nobody, false},
             {"misplaced", manifest_of_another, false},
             {"misplaced", manifest_of_other_database, false},
             {"misplaced", manifest_of_other_attempt, false},
             {"misplaced", manifest_elsewhere, false},
             {"not_readable", manifest_locked, false},
             {"bad_signature", proof_altered, true},
             {"bad_signature", proof_not_told, true},
             {"bad_signature", proof_as_verdict, true},
             {"not_allowed", proof_of_dumper, true},
             {"unknown_key", proof_of_nobody, true},
             {"misplaced", proof_of_another, true},
             {"misplaced", proof_elsewhere, true},
             {"other_manifest", proof_of_other_manifest, true},
             {"other_manifest", proof_of_other_rows, true},
             {"not_readable", proof_garbage, true}};

static void test_not_believed(void **state) {
  Fixture *f = *state;
  for (unsigned i = 0; i < ARRAY_SIZE(harms); i++) {
    Pgseal__InventoryPage *page = new_page();
    harms[i].harm(f, add_sealed(f, page, i + 1));
    CLEANUP(free_json) json_t *report = inventory(f, page, true);
    expect_refused(report, harms[i].reason);
    assert_int_equal(counted(report, "refused"), 1);
    assert_int_equal(counted(report, "proven"), 0);
    assert_int_equal(counted(report, "checkpoints_refused"), !harms[i].stored);
    assert_int_equal(is_there(f, i + 1), harms[i].stored);
    if (harms[i].stored)
      expect_state(f, i + 1, CHECKPOINT_ERRORED);
    assert_int_equal(json_array_size(json_object_get(report, "unknown_keys")),
                     strcmp(harms[i].reason, "unknown_key") == 0);
  }
}

/* Somebody vouches for a key that nobody knew: what was refused for it comes in, and what was unproven is sealed. */
static void test_vouched_for(void **state) {
  Fixture *f = *state;
  static const char *drill[] = {"drill"}, *all[] = {"*"}, *others[] = {"prod-*"};
  for (int round = 0; round < 3; round++) {
    ConfigAgent former = {.name = "driller", .capabilities = drill, .capability_count = 1, .database_count = 1};
    former.databases = round == 1 ? others : all;
    signing_key_public(f->keys[NOBODY], former.key);
    f->config.former_agents = &former;
    f->config.former_agent_count = round > 0;
    Pgseal__InventoryPage *page = new_page();
    proof_of_nobody(f, add_sealed(f, page, 1));
    CLEANUP(free_json) json_t *report = inventory(f, page, true);
    assert_int_equal(counted(report, "proven"), round == 2);
    if (round < 2)
      expect_refused(report, round == 0 ? "unknown_key" : "not_allowed");
    expect_state(f, 1, round == 2 ? CHECKPOINT_SEALED : CHECKPOINT_ERRORED);
    f->config.former_agent_count = 0;
  }
}

/* A manifest too large for any message: its proof, which names its digest, says who looked at it. */
static void test_large_manifest(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = new_page();
  for (unsigned i = 1; i <= 2; i++) {
    Pgseal__InventoryAttempt *a = add_sealed(f, page, i);
    a->manifest->document->object.len = 0;
    if (i == 2)
      take_text(&a->manifest->document->sha256, OTHER);
  }
  CLEANUP(free_json) json_t *report = inventory(f, page, true);
  expect_state(f, 1, CHECKPOINT_SEALED);
  expect_state(f, 2, CHECKPOINT_ERRORED);
  expect_refused(report, "other_manifest");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_not_believed),
      TEST(test_vouched_for),
      TEST(test_large_manifest),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
