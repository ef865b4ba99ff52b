/* A manifest and a proof with something in every field. */
#ifndef PGSEAL_TESTS_MANIFEST_SUPPORT_H
#define PGSEAL_TESTS_MANIFEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/manifest/manifest.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static inline void free_json(json_t **json) {
  json_decref(*json);
}

static inline void assert_ok(Status status, const Error *err) {
  if (status != STATUS_OK)
    fail_msg("%s: %s", error_code(status), err->message);
}

static inline ManifestSegment segment_of(uint64_t offset, uint64_t plain_size) {
  ManifestSegment s = {.offset = offset, .plain_size = plain_size, .size = plain_size / 4 + 400};
  strcpy(s.sha256, HEX);
  strcpy(s.plain_sha256, HEX);
  s.sha256[0] = 'f';
  return s;
}

static inline void fill_fingerprint(Fingerprint *f) {
  f->database = memory_strdup("api");
  f->server_version = memory_strdup("15.8 (Debian 15.8-0+deb12u1)");
  f->dump_version = memory_strdup("15.8");
  f->format_minor = 14;
  FingerprintTable table = {.schema = memory_strdup("public"),
                            .name = memory_strdup("orders \"odd\""),
                            .columns = memory_strdup("(id, \"total\")"),
                            .rows = 1000,
                            .bytes = 54321,
                            .digest = {1, 2, 3},
                            .offset = 2000,
                            .end_offset = 60000};
  ARRAY_PUSH(f->tables, f->table_count, table);
  FingerprintEntry entry = {memory_strdup("INDEX"), memory_strdup("public"), memory_strdup("orders_pkey"), {9}};
  ARRAY_PUSH(f->entries, f->entry_count, entry);
  FingerprintBlob blob = {.oid = 4294967295u, .bytes = 7, .digest = {8}};
  ARRAY_PUSH(f->blobs, f->blob_count, blob);
  f->rows = 1000;
  f->bytes = 54321;
  f->archive_size = 70000;
  f->toc_size = 1900;
}

static inline void fill_manifest(Manifest *m) {
  *m = (Manifest){.checkpoint_id = memory_strdup("01kb0000000000000000000000"),
                  .database = memory_strdup("prod-api"),
                  .tag = memory_strdup("pre-deploy-4f3a9c1 \xc3\xa9"),
                  .agent = memory_strdup("dump-1"),
                  .attempt = 2,
                  .started_us = 1763697611123456,
                  .finished_us = 1763697655000001,
                  .server_version = memory_strdup("15.8 (Debian 15.8-0+deb12u1)"),
                  .dump_version = memory_strdup("15.8"),
                  .pgseal_version = memory_strdup("0.1"),
                  .server_major = 15,
                  .database_name = memory_strdup("api"),
                  .bootstrap_role = memory_strdup("postgres"),
                  .snapshot = memory_strdup("00000003-0000001B-1"),
                  .lsn = memory_strdup("0/1A2B3C4D"),
                  .collation_version = memory_strdup("2.36"),
                  .encoding = memory_strdup("UTF8"),
                  .collation_provider = memory_strdup("libc"),
                  .collation = memory_strdup("de_DE.utf8"),
                  .collation_actual = memory_strdup("2.37"),
                  .has_roles = true,
                  .roles = segment_of(0, 500)};
  ARRAY_PUSH(m->segments, m->segment_count, segment_of(0, 50000));
  ARRAY_PUSH(m->segments, m->segment_count, segment_of(50000, 20000));
  ARRAY_PUSH(m->recipients, m->recipient_count, memory_strdup(HEX));
  ManifestOmission omission = {memory_strdup("foreign_table_data"), memory_strdup("public.remote"),
                               memory_strdup("its rows are on another server")};
  ARRAY_PUSH(m->omissions, m->omission_count, omission);
  fill_fingerprint(&m->fingerprint);
}

static inline void fill_proof(Proof *p, bool proven) {
  *p = (Proof){.drill_id = memory_strdup("01kb1111111111111111111111"),
               .checkpoint_id = memory_strdup("01kb0000000000000000000000"),
               .database = memory_strdup("prod-api"),
               .tag = memory_strdup("pre-deploy-4f3a9c1"),
               .agent = memory_strdup("drill-1"),
               .outcome = proven ? OUTCOME_PROVEN : OUTCOME_FAILED,
               .manifest_sha256 = HEX,
               .started_us = 1763697611123456,
               .finished_us = 1763697655000001,
               .server_version = memory_strdup("15.8"),
               .dump_version = memory_strdup("15.8"),
               .image = memory_strdup("postgres:15"),
               .engine = memory_strdup("docker"),
               .pgseal_version = memory_strdup("0.1"),
               .tables = 1,
               .rows = 1000,
               .bytes = 54321,
               .entries = 1,
               .blobs = 1,
               .fingerprint_sha256 = HEX,
               .assertions = json_pack("[{s:s, s:b}]", "name", "orders exist", "ok", 1),
               .stages = json_pack("{s:f, s:f}", "restore", 12.345678901, "compare", 0.1)};
  ARRAY_PUSH(p->notes, p->note_count, memory_strdup("pg_dump was 15.8 at the source and 15.9 here"));
  if (proven)
    return;
  error_set(&p->error, ERR_ROUND_TRIP_DIFFERS, "1000 rows dumped, 999 restored");
  error_object(&p->error, "public.orders");
  ProofDifference difference = {memory_strdup("rows"), memory_strdup("TABLE DATA public.orders"),
                                memory_strdup("1000 rows dumped, 999 restored"), memory_strdup("See the differences.")};
  ARRAY_PUSH(p->differences, p->difference_count, difference);
}

/* Through text, as it is stored. */
static inline json_t *as_stored(json_t *json) {
  char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  assert_non_null(text);
  json_t *again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  free(text);
  json_decref(json);
  return again;
}

/* Follows a path such as "source.lsn" or "segments.0.size"; *last is the part that is not followed. */
static inline json_t *parent_of(json_t *json, const char *path, char last[64]) {
  const char *dot;
  while ((dot = strchr(path, '.'))) {
    char part[64] = "";
    memcpy(part, path, (size_t)(dot - path));
    json = json_is_array(json) ? json_array_get(json, (size_t)strtoul(part, NULL, 10)) : json_object_get(json, part);
    assert_non_null(json);
    path = dot + 1;
  }
  snprintf(last, 64, "%s", path);
  return json;
}

/* Replaces (or, with NULL, removes) what is at the path; takes over `value`. */
static inline void put_at(json_t *json, const char *path, json_t *value) {
  char last[64];
  json_t *parent = parent_of(json, path, last);
  if (json_is_array(parent))
    assert_int_equal(json_array_set_new(parent, (size_t)strtoul(last, NULL, 10), value), 0);
  else if (value)
    assert_int_equal(json_object_set_new(parent, last, value), 0);
  else
    assert_int_equal(json_object_del(parent, last), 0);
}

#endif
