/* The documents of an attempt: as they are stored, and what they say. */
#include <stdlib.h>
#include <string.h>

#include "agent/jobs/dump.h"
#include "agent/jobs/inventory.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/manifest/table_list.h"

enum {
  OMISSIONS_LIMIT = 64 << 10,
  TABLES_LIMIT = 256 << 10,
  FIXED_COST = 1024 /* names, digests, the message's own */
};

static Pgseal__InventoryDocument *new_document(const char *key) {
  Pgseal__InventoryDocument *document = memory_alloc(sizeof *document);
  pgseal__inventory_document__init(document);
  document->key = memory_strdup(key);
  return document;
}

static void set_error(Pgseal__InventoryDocument *document, const Error *cause) {
  Pgseal__Failure *failure = document->error = memory_alloc(sizeof *failure);
  pgseal__failure__init(failure);
  failure->code = memory_strdup(error_code(cause->status));
  failure->message = memory_strdup(cause->message);
  failure->remedy = memory_strdup(cause->remedy);
  failure->object = memory_strdup(cause->object);
}

static void set_bytes(ProtobufCBinaryData *out, const Buffer *from) {
  out->data = from->size ? memory_dup(from->data, from->size) : NULL;
  out->len = from->size;
}

/* About this one document, so that the inventory goes on. */
static bool is_its_own(Status status) {
  return status == ERR_SEGMENT_CORRUPT || status == ERR_SEGMENT_MISSING || status == ERR_KEY_MISMATCH ||
         status == ERR_MANIFEST_INVALID || status == ERR_PROOF_INVALID;
}

/* json: new reference, or NULL with an error in the document. */
static Status read_document(const StoredPlace *place, const char *key, const char *purpose, size_t limit,
                            Pgseal__InventoryDocument *document, Buffer *object, json_t **json, Error *err) {
  CLEANUP(buffer_release) Buffer signature = {0};
  char digest[SHA256_HEX_SIZE];
  Error cause;
  Status status = document_fetch(place->repository, key, limit, object, &signature, &cause);
  if (status == STATUS_OK) {
    sha256_hex(object->data, object->size, digest);
    document->sha256 = memory_strdup(digest);
    document->size = object->size;
    set_bytes(&document->signature, &signature);
    status = document_open(key, purpose, object, place->key, json, &cause);
  }
  if (status != STATUS_OK && is_its_own(status)) {
    set_error(document, &cause);
    return STATUS_OK;
  }
  if (status != STATUS_OK)
    *err = cause;
  return status;
}

/* ---- the manifest ---- */

static size_t take_facts(const Manifest *from, Pgseal__InventoryManifest *to) {
  static const char more[] =
      "[{\"kind\":\"more\",\"object\":\"\",\"detail\":\"the manifest in the repository lists them\"}]";
  to->checkpoint_id = memory_strdup(from->checkpoint_id);
  to->database = memory_strdup(from->database);
  to->tag = memory_strdup(from->tag);
  to->agent = memory_strdup(from->agent);
  to->attempt = (uint32_t)from->attempt;
  to->started_us = from->started_us;
  to->finished_us = from->finished_us;
  to->dump = dump_result_of(from, to->document->sha256);
  if (strlen(to->dump->omissions_json) > OMISSIONS_LIMIT) {
    free(to->dump->omissions_json);
    to->dump->omissions_json = memory_strdup(more);
  }
  return strlen(to->dump->omissions_json);
}

/* Where there is room for them: the documents come first. Returns what it took. */
static size_t take_tables(const InventoryRoom *room, const Manifest *from, Pgseal__DumpResult *to) {
  if (room->used + TABLES_LIMIT > room->bounds->enough)
    return 0;
  to->table_list = dump_table_list(NULL, &from->fingerprint, TABLES_LIMIT);
  size_t cost = 0;
  for (size_t i = 0; i < to->table_list->n_tables; i++)
    cost += table_list_cost(to->table_list->tables[i]->schema, to->table_list->tables[i]->name);
  return cost;
}

Status inventory_manifest(InventoryRoom *room, const char *prefix, Pgseal__InventoryAttempt *attempt, Error *err) {
  CLEANUP_FREE char *key = manifest_key(prefix);
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(json_decrefp) json_t *json = NULL;
  CLEANUP(manifest_release) Manifest manifest = {0};
  Pgseal__InventoryManifest *out = attempt->manifest = memory_alloc(sizeof *out);
  pgseal__inventory_manifest__init(out);
  out->document = new_document(key);
  Status status = read_document(room->place, key, "manifest", STORED_OBJECT_LIMIT, out->document, &object, &json, err);
  if (status != STATUS_OK)
    return status;
  Error cause;
  size_t cost = FIXED_COST + out->document->signature.len;
  if (json && manifest_from_json(json, &manifest, &cause) == STATUS_OK)
    cost += take_facts(&manifest, out) + take_tables(room, &manifest, out->dump);
  else if (json)
    set_error(out->document, &cause);
  if (object.size <= room->bounds->object && room->used + cost + object.size <= room->bounds->most) {
    set_bytes(&out->document->object, &object);
    cost += object.size;
  }
  room->used += cost;
  return STATUS_OK;
}

/* ---- proofs ---- */

/* *out stays NULL where there is no room for it. */
static Status take_proof(InventoryRoom *room, const char *key, Pgseal__InventoryProof **out, Error *err) {
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(json_decrefp) json_t *json = NULL;
  Pgseal__InventoryProof *proof = memory_alloc(sizeof *proof);
  pgseal__inventory_proof__init(proof);
  proof->document = new_document(key);
  Status status = read_document(room->place, key, "proof", room->bounds->object, proof->document, &object, &json, err);
  char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
  size_t cost = FIXED_COST + proof->document->signature.len + object.size + (text ? strlen(text) : 0);
  if (status != STATUS_OK || room->used + cost > room->bounds->most) {
    free(text);
    pgseal__inventory_proof__free_unpacked(proof, NULL);
    return status;
  }
  set_bytes(&proof->document->object, &object);
  if (text)
    proof->json = text;
  room->used += cost;
  *out = proof;
  return STATUS_OK;
}

/* Their ids grow with time, so the newest, which say how it stands, are the last. */
Status inventory_proofs(InventoryRoom *room, char *const *keys, size_t count, Pgseal__InventoryAttempt *attempt,
                        Error *err) {
  for (size_t i = count; i-- > 0;) {
    Pgseal__InventoryProof *proof = NULL;
    Status status = attempt->n_proofs < room->bounds->proofs ? take_proof(room, keys[i], &proof, err) : STATUS_OK;
    if (status != STATUS_OK)
      return status;
    if (!proof) {
      attempt->proofs_left_out += i + 1;
      break;
    }
    ARRAY_PUSH(attempt->proofs, attempt->n_proofs, proof);
  }
  return STATUS_OK;
}
