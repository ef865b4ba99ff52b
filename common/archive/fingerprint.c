#include "common/archive/fingerprint.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/fingerprint_order.h"
#include "common/archive/large_objects.h"
#include "common/archive/normalize.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/digest.h"

enum { PROGRESS_BYTES = 4 << 20 };

struct FingerprintBuilder {
  ArchiveReader *reader;
  FingerprintHooks hooks;
  Fingerprint result;
  RowDigest *rows;   /* of the table being read */
  Sha256 *blob_hash; /* of the large object being read */
  int64_t blob_bytes;
  bool in_blob;
  FingerprintProgress progress;
  char *table_name; /* "schema.name" shown in progress */
  int64_t next_progress;
};

void fingerprint_release(Fingerprint *f) {
  for (size_t i = 0; i < f->entry_count; i++) {
    free(f->entries[i].desc);
    free(f->entries[i].schema);
    free(f->entries[i].tag);
  }
  for (size_t i = 0; i < f->table_count; i++) {
    free(f->tables[i].schema);
    free(f->tables[i].name);
    free(f->tables[i].columns);
  }
  free(f->entries);
  free(f->tables);
  free(f->blobs);
  free(f->database);
  free(f->server_version);
  free(f->dump_version);
  memset(f, 0, sizeof *f);
}

static void hash_text(Sha256 *hash, const char *text) {
  uint64_t length = strlen(text);
  uint8_t prefix[8];
  for (int i = 0; i < 8; i++)
    prefix[i] = (uint8_t)(length >> (8 * i));
  sha256_update(hash, prefix, sizeof prefix);
  sha256_update(hash, text, length);
}

static void hash_number(Sha256 *hash, int64_t number) {
  uint8_t bytes[8];
  for (int i = 0; i < 8; i++)
    bytes[i] = (uint8_t)((uint64_t)number >> (8 * i));
  sha256_update(hash, bytes, sizeof bytes);
}

/* Dump ids, OIDs and dependencies (which are dump ids) are left out: they differ between clusters. */
static void entry_digest(const ArchiveEntry *entry, Sha256 *hash, uint8_t out[DIGEST_SIZE]) {
  CLEANUP_FREE char *defn = normalize_definition(entry);
  const char *fields[] = {entry->desc,     entry->schema,    entry->tag,       entry->owner, entry->tablespace,
                          entry->table_am, entry->drop_stmt, entry->copy_stmt, defn};
  for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
    hash_text(hash, fields[i]);
  hash_number(hash, entry->section);
  hash_number(hash, entry->relkind);
  sha256_finish(hash, out);
}

/* Table data and large objects have digests of their content instead. */
static bool is_data(const ArchiveEntry *entry) {
  return strcmp(entry->desc, "TABLE DATA") == 0 || strcmp(entry->desc, "BLOBS") == 0;
}

/* What on_toc hands to add_entry. */
typedef struct TocDigest {
  FingerprintBuilder *builder;
  Sha256 *hash;
} TocDigest;

static void add_entry(void *user, const ArchiveEntry *entry) {
  TocDigest *digest = user;
  FingerprintBuilder *builder = digest->builder;
  if (is_data(entry)) {
    builder->progress.tables_total += strcmp(entry->desc, "TABLE DATA") == 0;
    return;
  }
  Fingerprint *f = &builder->result;
  FingerprintEntry one = {memory_strdup(entry->desc), memory_strdup(entry->schema), memory_strdup(entry->tag), {0}};
  entry_digest(entry, digest->hash, one.digest);
  ARRAY_PUSH(f->entries, f->entry_count, one);
}

static Status on_toc(void *user, const ArchiveToc *toc, Error *err) {
  FingerprintBuilder *builder = user;
  Fingerprint *f = &builder->result;
  f->database = memory_strdup(toc->header.database);
  f->server_version = memory_strdup(toc->header.server_version);
  f->dump_version = memory_strdup(toc->header.dump_version);
  f->format_minor = toc->header.version_minor;
  f->toc_size = toc->size;
  TocDigest digest = {builder, sha256_new()};
  large_objects_split(toc, add_entry, &digest);
  sha256_free(digest.hash);
  return builder->hooks.toc ? builder->hooks.toc(builder->hooks.user, toc, err) : STATUS_OK;
}

/* The column list in "COPY schema.table (a, b) FROM stdin;", as pg_dump wrote it. NULL: not such a statement. */
static char *copy_columns(const char *statement) {
  static const char head[] = "COPY ", tail[] = " FROM stdin;";
  if (strncmp(statement, head, sizeof head - 1) != 0)
    return NULL;
  const char *at = statement + sizeof head - 1;
  while (*at && *at != ' ') { /* the table's name, quoted or not */
    if (*at++ != '"')
      continue;
    while (*at && *at != '"')
      at++;
    if (*at)
      at++;
  }
  size_t left = strlen(at), tail_size = sizeof tail - 1;
  while (left > 0 && at[left - 1] == '\n')
    left--;
  if (left < tail_size || strncmp(at + left - tail_size, tail, tail_size) != 0)
    return NULL;
  left -= tail_size;
  while (left > 0 && *at == ' ')
    at++, left--;
  return memory_strndup(at, left);
}

static Status on_block_begin(void *user, const ArchiveEntry *entry, uint64_t offset, Error *err) {
  FingerprintBuilder *builder = user;
  if (strcmp(entry->desc, "BLOBS") == 0)
    return STATUS_OK;
  char *columns = strcmp(entry->desc, "TABLE DATA") == 0 ? copy_columns(entry->copy_stmt) : NULL;
  if (!columns)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the data of %s %s.%s is not in COPY format", entry->desc, entry->schema,
                     entry->tag);
  FingerprintTable table = {
      .schema = memory_strdup(entry->schema), .name = memory_strdup(entry->tag), .columns = columns, .offset = offset};
  ARRAY_PUSH(builder->result.tables, builder->result.table_count, table);
  free(builder->table_name);
  builder->table_name = memory_format("%s.%s", entry->schema, entry->tag);
  builder->progress.table = builder->table_name;
  builder->rows = row_digest_new();
  return STATUS_OK;
}

static void report(FingerprintBuilder *builder, bool force) {
  if (!builder->hooks.progress || (!force && builder->progress.bytes < builder->next_progress))
    return;
  builder->next_progress = builder->progress.bytes + PROGRESS_BYTES;
  builder->hooks.progress(builder->hooks.user, &builder->progress);
}

static Status on_data(void *user, const uint8_t *data, size_t size, Error *err) {
  FingerprintBuilder *builder = user;
  builder->progress.bytes += (int64_t)size;
  if (builder->rows) {
    row_digest_feed(builder->rows, data, size);
  } else if (builder->in_blob) {
    sha256_update(builder->blob_hash, data, size);
    builder->blob_bytes += (int64_t)size;
  } else {
    return error_set(err, ERR_ARCHIVE_FORMAT, "data outside a table or large object");
  }
  report(builder, false);
  return STATUS_OK;
}

static Status on_blob_begin(void *user, const ArchiveEntry *entry, uint32_t oid, Error *err) {
  FingerprintBuilder *builder = user;
  if (strcmp(entry->desc, "BLOBS") != 0)
    return error_set(err, ERR_ARCHIVE_FORMAT, "large objects in the data of %s %s", entry->desc, entry->tag);
  if (!builder->blob_hash)
    builder->blob_hash = sha256_new();
  FingerprintBlob blob = {.oid = oid};
  ARRAY_PUSH(builder->result.blobs, builder->result.blob_count, blob);
  builder->blob_bytes = 0;
  builder->in_blob = true;
  return STATUS_OK;
}

static Status on_blob_end(void *user, Error *err) {
  (void)err;
  FingerprintBuilder *builder = user;
  FingerprintBlob *blob = &builder->result.blobs[builder->result.blob_count - 1];
  blob->bytes = builder->blob_bytes;
  sha256_finish(builder->blob_hash, blob->digest);
  builder->in_blob = false;
  return STATUS_OK;
}

static Status on_block_end(void *user, const ArchiveEntry *entry, uint64_t end_offset, Error *err) {
  FingerprintBuilder *builder = user;
  if (!builder->rows)
    return STATUS_OK; /* large objects end one by one */
  Fingerprint *f = &builder->result;
  FingerprintTable *table = &f->tables[f->table_count - 1];
  Status status = row_digest_finish(builder->rows, true, &table->rows, &table->bytes, table->digest, err);
  row_digest_free(builder->rows);
  builder->rows = NULL;
  if (status)
    return error_prefix(err, "%s %s.%s", entry->desc, entry->schema, entry->tag);
  table->end_offset = end_offset;
  f->rows += table->rows;
  f->bytes += table->bytes;
  builder->progress.rows = f->rows;
  builder->progress.tables_done++;
  report(builder, true);
  return STATUS_OK;
}

FingerprintBuilder *fingerprint_builder_new(const FingerprintHooks *hooks) {
  static const ArchiveCallbacks callbacks = {on_toc, on_block_begin, on_blob_begin, on_data, on_blob_end, on_block_end};
  FingerprintBuilder *builder = memory_alloc(sizeof *builder);
  if (hooks)
    builder->hooks = *hooks;
  builder->progress.table = "";
  builder->reader = archive_reader_new(&callbacks, builder);
  return builder;
}

void fingerprint_builder_free(FingerprintBuilder *builder) {
  if (!builder)
    return;
  archive_reader_free(builder->reader);
  fingerprint_release(&builder->result);
  row_digest_free(builder->rows);
  if (builder->blob_hash)
    sha256_free(builder->blob_hash);
  free(builder->table_name);
  free(builder);
}

Status fingerprint_builder_feed(FingerprintBuilder *builder, const void *data, size_t size, Error *err) {
  builder->result.archive_size += size;
  return archive_reader_feed(builder->reader, data, size, err);
}

Status fingerprint_builder_finish(FingerprintBuilder *builder, Fingerprint *out, Error *err) {
  Status status = archive_reader_finish(builder->reader, err);
  if (status)
    return status;
  *out = builder->result;
  memset(&builder->result, 0, sizeof builder->result);
  return STATUS_OK;
}

const ArchiveToc *fingerprint_builder_toc(const FingerprintBuilder *builder) {
  return archive_reader_toc(builder->reader);
}

void fingerprint_digest(const Fingerprint *f, uint8_t digest[DIGEST_SIZE]) {
  CLEANUP_FREE const FingerprintEntry **entries = fingerprint_entries_sorted(f);
  CLEANUP_FREE const FingerprintTable **tables = fingerprint_tables_sorted(f);
  CLEANUP_FREE const FingerprintBlob **blobs = fingerprint_blobs_sorted(f);
  Sha256 *hash = sha256_new();
  hash_number(hash, (int64_t)f->entry_count);
  for (size_t i = 0; i < f->entry_count; i++) {
    const FingerprintEntry *entry = entries[i];
    hash_text(hash, entry->desc);
    hash_text(hash, entry->schema);
    hash_text(hash, entry->tag);
    sha256_update(hash, entry->digest, DIGEST_SIZE);
  }
  hash_number(hash, (int64_t)f->table_count);
  for (size_t i = 0; i < f->table_count; i++) {
    const FingerprintTable *table = tables[i];
    hash_text(hash, table->schema);
    hash_text(hash, table->name);
    hash_text(hash, table->columns);
    hash_number(hash, table->rows);
    hash_number(hash, table->bytes);
    sha256_update(hash, table->digest, DIGEST_SIZE);
  }
  hash_number(hash, (int64_t)f->blob_count);
  for (size_t i = 0; i < f->blob_count; i++) {
    const FingerprintBlob *blob = blobs[i];
    hash_number(hash, blob->oid);
    hash_number(hash, blob->bytes);
    sha256_update(hash, blob->digest, DIGEST_SIZE);
  }
  sha256_finish(hash, digest);
  sha256_free(hash);
}
