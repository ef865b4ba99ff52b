"""Ways to weaken the fingerprint, the comparison, and what leads to "proven", "sealed" and "verified"; and the tests that must notice."""
import dataclasses

ARCHIVE = tuple(f"common/archive/test_{t}" for t in ("fields", "compare", "fingerprint", "normalize", "large_objects", "reader"))
DRILL = ("agent/jobs/test_drill_parts", "agent/jobs/test_drill_deceived", "agent/jobs/test_drill", "agent/jobs/test_drill_follow")
DUMP = ("agent/jobs/test_dump_parts", "agent/jobs/test_dump_failures", "agent/jobs/test_dump")
RESTORE = ("agent/recovery/test_restore_in_place",)
VERDICT = tuple(f"coordinator/dispatch/test_{t}" for t in ("intake", "walks", "leases", "requests"))


@dataclasses.dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    tests: tuple


def of(file, tests, *mutants):
    return [Mutant(name, file, old, new, tests) for name, old, new in mutants]


MUTANTS = [
    *of("common/archive/row_digest.c", ARCHIVE,
        ("rows-cancel-out", "uint64_t with = sum[i] + limb, total = with + carry;", "uint64_t with = sum[i] ^ limb, total = with;"),
        ("carry-lost", "carry = (with < limb) | (total < with);", "carry = 0;"),
        ("half-a-digest", "for (int i = 0; i < LIMBS; i++) {\n    uint64_t limb;", "for (int i = 0; i < LIMBS / 2; i++) {\n    uint64_t limb;"),
        ("rows-not-counted", "  digest->rows++;\n", ""),
        ("bytes-not-counted", "  digest->bytes += (int64_t)size;\n  digest->in_line = false;", "  digest->in_line = false;"),
        ("split-line-loses-its-start", "    if (!newline) {\n      line_bytes(digest, at, (size_t)(end - at));", "    if (!newline) {\n      digest->in_line = true;"),
        ("rows-after-the-end", "      digest->trailing = true;\n      return;\n    }\n    if (!digest->in_line", "      return;\n    }\n    if (!digest->in_line"),
        ("end-not-required", "if (terminator != digest->terminated || digest->trailing", "if (digest->trailing"),
        ("unfinished-line", "digest->trailing || digest->in_line ||", "digest->trailing ||")),
    *of("common/archive/fingerprint.c", ARCHIVE,
        ("owner-not-digested", "entry->tag,       entry->owner, entry->tablespace,", "entry->tag,       \"\", entry->tablespace,"),
        ("tablespace-not-digested", "entry->owner, entry->tablespace,", "entry->owner, \"\","),
        ("access-method-not-digested", "entry->table_am, entry->drop_stmt,", "\"\", entry->drop_stmt,"),
        ("definition-not-digested", "entry->copy_stmt, defn};", "entry->copy_stmt, \"\"};"),
        ("drop-not-digested", "entry->table_am, entry->drop_stmt, entry->copy_stmt", "entry->table_am, \"\", entry->copy_stmt"),
        ("relation-kind-not-digested", "  hash_number(hash, entry->relkind);\n", ""),
        ("section-not-digested", "  hash_number(hash, entry->section);\n", ""),
        ("lengths-not-digested", "  sha256_update(hash, prefix, sizeof prefix);\n  sha256_update(hash, text, length);", "  sha256_update(hash, text, length);"),
        ("blob-content-not-digested", "    sha256_update(builder->blob_hash, data, size);\n", ""),
        ("blob-bytes-not-counted", "    builder->blob_bytes += (int64_t)size;\n", ""),
        ("digest-without-entries", "    sha256_update(hash, entry->digest, DIGEST_SIZE);\n", ""),
        ("digest-without-rows", "    hash_number(hash, table->rows);\n", ""),
        ("digest-without-content", "    sha256_update(hash, table->digest, DIGEST_SIZE);\n", ""),
        ("digest-without-columns", "    hash_text(hash, table->columns);\n", ""),
        ("digest-without-blobs", "    sha256_update(hash, blob->digest, DIGEST_SIZE);\n", "")),
    *of("common/archive/compare.c", ARCHIVE,
        ("rows-not-compared", "else if (a->rows != b->rows)", "else if (0)"),
        ("content-not-compared", "|| memcmp(a->digest, b->digest, DIGEST_SIZE) != 0)\n    add(out, DIFFERENCE_CONTENT", ")\n    add(out, DIFFERENCE_CONTENT"),
        ("content-not-compared-at-all", "else if (a->bytes != b->bytes || memcmp(a->digest", "else if (0 && memcmp(a->digest"),
        ("columns-not-compared", "else if (strcmp(a->columns, b->columns) != 0)", "else if (0)"),
        ("column-order-forgiven", "if (strcmp(a->columns, b->columns) != 0 && same_columns", "if (0 && same_columns"),
        ("columns-of-one-length-are-the-same", "    same = strcmp(x[i], y[i]) == 0;", "    same = true;"),
        ("entries-not-compared", "  compare_entries(expected, actual, out);\n}", "}"),
        ("tables-not-compared", "  compare_tables(expected, actual, out);\n", ""),
        ("blobs-not-compared", "  compare_blobs(expected, actual, out);\n", ""),
        ("added-entries-forgiven", "    added += order > 0;\n", ""),
        ("missing-entries-forgiven", "    missing += order < 0;\n", ""),
        ("changed-entries-forgiven", "    entry_difference(out, DIFFERENCE_ENTRY_CHANGED, a[0]);", "    ;"),
        ("entry-digests-not-compared", "j == b_count ? -1 : memcmp(a[i]->digest, b[j]->digest, DIGEST_SIZE);", "j == b_count ? -1 : 0;"),
        ("blob-content-not-compared", "    else if (a[i]->bytes != b[j]->bytes || memcmp(a[i]->digest, b[j]->digest, DIGEST_SIZE) != 0)", "    else if (a[i]->bytes != b[j]->bytes)")),
    *of("common/archive/normalize.c", ARCHIVE,
        ("settings-out-of-order-everywhere", "  if (strcmp(entry->desc, \"DATABASE PROPERTIES\") == 0)", "  if (1)"),
        ("all-tables-are-inherited", "  if (!starts(tail, \")\\nINHERITS (\"))\n    return memory_strdup(defn);\n", "")),
    *of("common/archive/reader.c", ARCHIVE + ("common/archive/test_seekable",),
        ("cut-archive", "reader->phase != PHASE_BLOCK || reader->pending.size > 0)", "0)"),
        ("missing-data-forgiven", "    if (!reader->seen[i]) {", "    if (0) {")),
    *of("agent/jobs/dump_compare.c", DUMP,
        ("source-rows-not-compared", "      if (source[i].rows != archive[j].rows)", "      if (0)"),
        ("table-not-dumped-forgiven", "      note_difference(differences, &source[i++], NULL);", "      i++;"),
        ("table-not-counted-forgiven", "      note_difference(differences, NULL, &archive[j++]);", "      j++;"),
        ("large-objects-not-counted", "  compare_large_objects(large_objects, fingerprint, &differences);\n", "")),
    *of("agent/jobs/stored.c", ("agent/jobs/test_stored",),
        ("another-manifest-than-announced", "sha256, identity->sha256, true}", "sha256, identity->sha256, false}"),
        ("another-checkpoints-manifest", "identity->checkpoint_id, true}", "identity->checkpoint_id, false}"),
        ("another-databases-manifest", "identity->database, true}", "identity->database, false}"),
        ("another-agents-manifest", "identity->agent && *identity->agent}", "false}"),
        ("another-places-manifest", "prefix, identity->prefix, true}", "prefix, identity->prefix, false}"),
        ("another-bootstrap-role", "identity->bootstrap_role != NULL}", "false}"),
        ("another-major", "  if (identity->major != 0 && identity->major != manifest->server_major)", "  if (0)"),
        ("objects-not-held-against-the-manifest", "  if (stored_is(read, expected) && read->plain_size == expected->plain_size &&", "  if (1 ||"),
        ("objects-by-their-sizes", "read->size == expected->size && strcmp(read->sha256, expected->sha256) == 0", "read->size == expected->size"),
        ("plaintext-not-held-against-the-manifest", "strcmp(read->plain_sha256, expected->plain_sha256) == 0)", "1)")),
    *of("agent/jobs/drill_manifest.c", DRILL,
        ("segments-not-held-against-the-manifest", "    return stored_check(key, &run->segments_read[index], &run->manifest.segments[index], err);", "    return STATUS_OK;"),
        ("roles-not-held-against-the-manifest", "  return stored_check(key, &run->roles_read, &run->manifest.roles, err);", "  return STATUS_OK;"),
        ("fingerprint-not-held-against-the-manifest", "  if (memcmp(found, expected, DIGEST_SIZE) == 0)", "  if (1)")),
    *of("agent/jobs/drill_compare.c", DRILL,
        ("differences-forgotten", "  if (status != STATUS_OK || run->differences.count == 0)", "  if (1)"),
        ("other-column-order-not-read-again", "  *equal = rows == table->rows", "  *equal = true || rows == table->rows"),
        ("dump-of-the-copy-failed", "  if (exit_code != 0) {", "  if (0) {")),
    *of("agent/jobs/drill.c", DRILL,
        ("nothing-held-against-the-manifest", "  if (run->source_whole) {", "  if (0) {"),
        ("no-comparison", "    {DRILL_STAGE_COMPARE, \"comparing\", drill_hold_against},\n", ""),
        ("no-assertions", "{DRILL_STAGE_ASSERT, \"asserting\", drill_assert},   ", ""),
        ("no-indexes", "{DRILL_STAGE_INDEX, \"indexing\", drill_restore_indexes},", "")),
    *of("coordinator/dispatch/verdict.c", VERDICT,
        ("unsigned-verdict", "  if (!signature_valid(dispatch, work, job, result, OUTCOME_PROVEN)) {", "  if (0) {"),
        ("proof-of-another-manifest", "  if (strcmp(result->manifest_sha256, checkpoint->manifest_sha256) == 0)\n    return VERDICT_COUNTS;", "  return VERDICT_COUNTS;"),
        ("proven-without-being-told", "strcmp(result->verdict, outcome_name(OUTCOME_PROVEN)) != 0 ||", "")),
    *of("agent/recovery/verify.c", RESTORE,
        ("restored-rows-not-compared", "  bool same = rows == expected->rows", "  bool same = true || rows == expected->rows"),
        ("restored-content-not-compared", "bytes == expected->bytes && memcmp(found, expected->digest, DIGEST_SIZE) == 0;", "bytes == expected->bytes;"),
        ("restored-definitions-not-compared", "  return strcmp(was, is) == 0;", "  return true;"),
        ("restored-owner-not-compared", " || strcmp(then->owner, now->owner) != 0 ||", " ||"),
        ("restored-definitions-forgiven", "  restore->differs = found > 0 && !worded;", "  restore->differs = false;")),
    *of("agent/recovery/load.c", RESTORE,
        ("rows-that-a-restore-lost", "status == STATUS_OK && rows != table->rows", "0")),
    *of("agent/recovery/in_place.c", RESTORE,
        ("restored-in-place-and-not-read-back", "    status = verify_all(restore, err);", "    ;")),
    *of("agent/recovery/beside.c", ("agent/recovery/test_restore_beside",),
        ("restored-beside-and-not-read-back", "    status = restore_verify_rows(restore, table->then, restore->schema, table->rescue, table->then->columns, err);", "    ;")),
    *of("agent/recovery/new_database.c", ("agent/recovery/test_restore_new_database",),
        ("new-database-not-read-back", "    status = restore_verify_rows(restore, table, table->schema, table->name, table->columns, err);", "    ;"),
        ("new-database-without-its-large-objects", "    status = new_database_check_large_objects(new, err);", "    ;")),
    *of("agent/recovery/new_database_blobs.c", ("agent/recovery/test_restore_new_database",),
        ("restored-large-objects-not-counted", "  if (strtoull(PQgetvalue(result, 0, 0), NULL, 10) != expected->blob_count)", "  if (0)"),
        ("restored-large-objects-not-compared", "  if (bytes != expected->bytes || memcmp(found, expected->digest, DIGEST_SIZE) != 0)", "  if (bytes != expected->bytes)")),
]
