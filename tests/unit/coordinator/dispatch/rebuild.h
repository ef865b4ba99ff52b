/* What agents may tell of a repository, in the tests of rebuilding: checkpoints with their manifests and proofs,
 * signed. */
#ifndef PGSEAL_TESTS_UNIT_COORDINATOR_DISPATCH_REBUILD_H
#define PGSEAL_TESTS_UNIT_COORDINATOR_DISPATCH_REBUILD_H

#include "tests/unit/coordinator/dispatch/support.h"

#include "common/base/id.h"
#include "common/base/text.h"

#define INVENTORY PGSEAL__JOB_KIND__JOB_KIND_INVENTORY
#define DB "shop"
#define BORN_US ((int64_t)1763697611000000)
enum { BOTH = 0, DUMPER = 1, DRILLER = 2, NOBODY = 4 };

static inline void free_json(json_t **json) {
  json_decref(*json);
}

static inline void knows_inventories(Fixture *f, int agent) {
  Pgseal__Tool tool = PGSEAL__TOOL__INIT;
  Pgseal__Tool *list[] = {&tool};
  tool.name = (char *)"inventories";
  dispatch_agent_tools(f->dispatch, agent_names[agent], list, 1);
}

/* ---- what a repository may hold ---- */

/* An id of that number, made at BORN_US. */
static inline char *id_of(unsigned number) {
  static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
  char *id = memory_strdup("01kaj93m7r0000000000000000");
  for (int i = 25; number > 0; i--, number /= 32)
    id[i] = digits[number % 32];
  assert_true(id_valid(id));
  return id;
}

static inline Pgseal__InventoryDocument *document(Fixture *f, char *key, const char *purpose, int signer,
                                                  const char *body) {
  Pgseal__InventoryDocument *d = memory_alloc(sizeof *d);
  uint8_t signature[SIGNATURE_SIZE], public_key[PUBLIC_KEY_SIZE];
  char hex[2 * SIGNATURE_SIZE + 1], key_hex[PUBLIC_KEY_HEX_SIZE], digest[SHA256_HEX_SIZE];
  pgseal__inventory_document__init(d);
  d->key = key;
  d->object.data = memory_dup(body, strlen(body));
  d->object.len = d->size = strlen(body);
  sha256_hex(body, strlen(body), digest);
  d->sha256 = memory_strdup(digest);
  OK(signing_sign(f->keys[signer], purpose, body, strlen(body), signature, &f->err));
  signing_key_public(f->keys[signer], public_key);
  text_hex(signature, sizeof signature, hex);
  text_hex(public_key, sizeof public_key, key_hex);
  char *text = memory_format("{\"algorithm\":\"Ed25519\",\"public_key\":\"%s\",\"signature\":\"%s\"}\n", key_hex, hex);
  d->signature.data = (uint8_t *)text;
  d->signature.len = strlen(text);
  return d;
}

static inline Pgseal__InventoryAttempt *attempt(unsigned number, uint32_t n) {
  Pgseal__InventoryAttempt *a = memory_alloc(sizeof *a);
  pgseal__inventory_attempt__init(a);
  a->checkpoint_id = id_of(number);
  a->attempt = n;
  a->objects = 3;
  a->bytes = 1000;
  return a;
}

static inline Pgseal__DumpResult *dumped(const char *sha256) {
  Pgseal__DumpResult *dump = memory_alloc(sizeof *dump);
  pgseal__dump_result__init(dump);
  dump->manifest_sha256 = memory_strdup(sha256);
  dump->segments = 4;
  dump->size_stored = 1000;
  dump->size_archive = 3000;
  dump->tables = 2;
  dump->rows = 50;
  dump->server_version = memory_strdup("15.14");
  dump->dump_version = memory_strdup("15.14");
  dump->server_major = 15;
  dump->omissions_json = memory_strdup("[]");
  dump->fingerprint_sha256 = memory_strdup(OTHER);
  dump->table_list = two_tables();
  return dump;
}

static inline void add_manifest(Fixture *f, Pgseal__InventoryAttempt *a, int signer) {
  CLEANUP_FREE char *prefix = manifest_prefix(DB, a->checkpoint_id, (int)a->attempt);
  CLEANUP_FREE char *body = memory_format("manifest of %s", prefix);
  Pgseal__InventoryManifest *m = a->manifest = memory_alloc(sizeof *m);
  pgseal__inventory_manifest__init(m);
  m->document = document(f, manifest_key(prefix), "manifest", signer, body);
  m->checkpoint_id = memory_strdup(a->checkpoint_id);
  m->database = memory_strdup(DB);
  m->tag = memory_format("tag-%u", a->attempt);
  m->agent = memory_strdup(agent_names[signer]);
  m->attempt = a->attempt;
  m->started_us = BORN_US + 1000000;
  m->finished_us = BORN_US + 2000000;
  m->dump = dumped(m->document->sha256);
}

static inline char *proof_text(const Pgseal__InventoryAttempt *a, const char *drill, const char *agent, bool proven) {
  Proof proof = {.drill_id = (char *)drill,
                 .checkpoint_id = a->checkpoint_id,
                 .database = (char *)DB,
                 .tag = (char *)"tag",
                 .agent = (char *)agent,
                 .outcome = proven ? OUTCOME_PROVEN : OUTCOME_FAILED,
                 .started_us = BORN_US + 2000000,
                 .finished_us = BORN_US + 9000000,
                 .server_version = (char *)"15.14",
                 .dump_version = (char *)"15.14",
                 .image = (char *)"",
                 .engine = (char *)"local",
                 .pgseal_version = (char *)"1",
                 .tables = 2,
                 .rows = 50,
                 .fingerprint_sha256 = OTHER,
                 .assertions = json_array(),
                 .stages = json_pack("{s:f}", "restore", 1.5)};
  memcpy(proof.manifest_sha256, a->manifest->document->sha256, SHA256_HEX_SIZE);
  if (!proven)
    error_set(&proof.error, ERR_ASSERTION_FAILED, "it does not hold");
  json_t *json = proof_to_json(&proof);
  char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  json_decref(json);
  json_decref(proof.assertions);
  json_decref(proof.stages);
  return text;
}

static inline Pgseal__InventoryProof *add_proof(Fixture *f, Pgseal__InventoryAttempt *a, int signer, bool proven) {
  CLEANUP_FREE char *prefix = manifest_prefix(DB, a->checkpoint_id, (int)a->attempt),
                    *drill = memory_strdup(id_new().text);
  Pgseal__InventoryProof *p = memory_alloc(sizeof *p);
  pgseal__inventory_proof__init(p);
  p->json = proof_text(a, drill, agent_names[signer], proven);
  p->document = document(f, proof_key(prefix, drill), "proof", signer, p->json);
  ARRAY_PUSH(a->proofs, a->n_proofs, p);
  return p;
}

static inline Pgseal__InventoryPage *new_page(void) {
  Pgseal__InventoryPage *page = memory_alloc(sizeof *page);
  pgseal__inventory_page__init(page);
  return page;
}

static inline Pgseal__InventoryAttempt *on_page(Pgseal__InventoryPage *page, Pgseal__InventoryAttempt *a) {
  ARRAY_PUSH(page->attempts, page->n_attempts, a);
  return a;
}

static inline Pgseal__InventoryAttempt *add_sealed(Fixture *f, Pgseal__InventoryPage *page, unsigned number) {
  Pgseal__InventoryAttempt *a = on_page(page, attempt(number, 1));
  add_manifest(f, a, DUMPER);
  add_proof(f, a, DRILLER, true);
  return a;
}

/* ---- telling it ---- */

static inline char *ask(Fixture *f, bool rebuild) {
  char *id = NULL;
  OK(dispatch_request_inventory(f->dispatch, DB, rebuild, &me, &id, &f->err));
  return id;
}

static inline Pgseal__Job *must_take(Fixture *f, const char *after) {
  knows_inventories(f, DRILLER);
  Pgseal__Job *job = poll_as(f, DRILLER, 0, 2, NULL); /* one may just have been given */
  assert_non_null(job);
  assert_int_equal(job->kind, INVENTORY);
  assert_string_equal(job->database, DB);
  assert_string_equal(job->inventory->after, after);
  return job;
}

/* The page is freed. */
static inline void tell(Fixture *f, const Pgseal__Job *job, Pgseal__InventoryPage *page) {
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  bool accepted;
  result.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  result.inventory = page;
  OK(send_result(f, DRILLER, job, &result, &accepted));
  assert_true(accepted);
  OK(send_result(f, DRILLER, job, &result, &accepted)); /* its answer was lost */
  assert_true(accepted);
  pgseal__inventory_page__free_unpacked(page, NULL);
}

/* All of it on one page; the report, a new reference. */
static inline json_t *inventory(Fixture *f, Pgseal__InventoryPage *page, bool rebuild) {
  CLEANUP_FREE char *id = ask(f, rebuild);
  JOB *job = must_take(f, "");
  json_t *report = NULL;
  tell(f, job, page);
  assert_int_equal(job_state_of(f, id, NULL), JOB_DONE);
  OK(ledger_job_report_get(f->ledger, id, &report, &f->err));
  assert_non_null(report);
  return report;
}

static inline int counted(const json_t *report, const char *name) {
  return (int)json_integer_value(json_object_get(json_object_get(report, "counts"), name));
}

static inline void expect_refused(const json_t *report, const char *reason) {
  const json_t *first = json_array_get(json_object_get(report, "refused"), 0);
  const char *found = json_string_value(json_object_get(first, "reason"));
  if (!found || strcmp(found, reason) != 0)
    fail_msg("refused for %s instead of %s", found ? found : "nothing", reason);
}

static inline Checkpoint checkpoint_of(Fixture *f, unsigned number) {
  Checkpoint c = {0};
  CLEANUP_FREE char *id = id_of(number);
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  return c;
}

static inline bool is_there(Fixture *f, unsigned number) {
  CLEANUP(checkpoint_release) Checkpoint c = {0};
  CLEANUP_FREE char *id = id_of(number);
  return ledger_checkpoint_get(f->ledger, id, &c, &f->err) == STATUS_OK;
}

static inline void expect_state(Fixture *f, unsigned number, CheckpointState state) {
  CLEANUP(checkpoint_release) Checkpoint c = checkpoint_of(f, number);
  assert_string_equal(checkpoint_state_name(c.state), checkpoint_state_name(state));
}

#endif
