#include "common/archive/reader.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/toc.h"
#include "common/base/buffer.h"
#include "common/base/memory.h"

/* Block types of the custom format (pg_backup_custom.c). */
enum { BLOCK_DATA = 1, BLOCK_BLOBS = 3, CHUNK_LIMIT = 1 << 30, PENDING_MAX = 1 << 30 };

/* What the next bytes are. */
typedef enum Phase {
  PHASE_HEADER,
  PHASE_ENTRIES,
  PHASE_BLOCK, /* block type and dump id, or the end of the archive */
  PHASE_BLOB,  /* OID of a large object, or 0: end of its block */
  PHASE_CHUNK, /* length of a chunk, or 0: end of the table or large object */
  PHASE_DATA,  /* bytes of a chunk */
  PHASE_BROKEN
} Phase;

struct ArchiveReader {
  ArchiveCallbacks callbacks;
  void *user;
  ArchiveToc toc;
  Phase phase;
  Buffer pending;    /* bytes that do not make a whole item yet */
  uint64_t position; /* in the stream, of the first byte not consumed */
  size_t entries_wanted;
  const ArchiveEntry *block; /* whose data block is being read */
  bool in_blobs;
  uint64_t chunk_left;
  size_t *data_entries; /* indexes of entries with data, sorted by dump id */
  size_t data_count;
  bool *seen; /* beside data_entries: its block came */
};

ArchiveReader *archive_reader_new(const ArchiveCallbacks *callbacks, void *user) {
  ArchiveReader *reader = memory_alloc(sizeof *reader);
  reader->callbacks = *callbacks;
  reader->user = user;
  return reader;
}

void archive_reader_free(ArchiveReader *reader) {
  if (!reader)
    return;
  toc_release(&reader->toc);
  buffer_release(&reader->pending);
  free(reader->data_entries);
  free(reader->seen);
  free(reader);
}

const ArchiveToc *archive_reader_toc(const ArchiveReader *reader) {
  return reader->phase > PHASE_ENTRIES && reader->toc.size > 0 ? &reader->toc : NULL;
}

static Status damaged(Error *err, uint64_t position, const char *what) {
  return error_set(err, ERR_ARCHIVE_FORMAT, "the archive is damaged at byte %llu: %s", (unsigned long long)position,
                   what);
}

static int by_dump_id(const void *a, const void *b, void *user) {
  const ArchiveEntry *entries = user;
  int x = entries[*(const size_t *)a].dump_id, y = entries[*(const size_t *)b].dump_id;
  return (x > y) - (x < y);
}

/* The TOC is whole: index the entries that promise data, and tell the user. */
static Status toc_complete(ArchiveReader *reader, Error *err) {
  ArchiveToc *toc = &reader->toc;
  toc->size = reader->position;
  for (size_t i = 0; i < toc->entry_count; i++)
    if (toc->entries[i].had_dumper)
      ARRAY_PUSH(reader->data_entries, reader->data_count, i);
  if (reader->data_count) {
    qsort_r(reader->data_entries, reader->data_count, sizeof(size_t), by_dump_id, toc->entries);
    reader->seen = memory_alloc(reader->data_count * sizeof(bool));
  }
  for (size_t i = 1; i < reader->data_count; i++)
    if (toc->entries[reader->data_entries[i]].dump_id == toc->entries[reader->data_entries[i - 1]].dump_id)
      return damaged(err, reader->position, "two entries have the same dump id");
  if (reader->data_count && toc->header.compression != 0)
    return error_set(err, ERR_ARCHIVE_FORMAT,
                     "the archive's data is compressed; only uncompressed archives (pg_dump -Z0) are read");
  reader->phase = PHASE_BLOCK;
  return reader->callbacks.toc ? reader->callbacks.toc(reader->user, toc, err) : STATUS_OK;
}

/* Each step looks at data[0..size), consumes *used bytes (0: more are needed) and moves the phase. */
static Status step_header(ArchiveReader *reader, const uint8_t *data, size_t size, size_t *used, Error *err) {
  Status status = toc_parse_header(data, size, &reader->toc.header, &reader->entries_wanted, used, err);
  if (status || !*used)
    return status;
  reader->position += *used;
  reader->phase = PHASE_ENTRIES;
  return reader->entries_wanted ? STATUS_OK : toc_complete(reader, err);
}

static Status step_entry(ArchiveReader *reader, const uint8_t *data, size_t size, size_t *used, Error *err) {
  ArchiveEntry entry;
  Status status = toc_parse_entry(&reader->toc.header, data, size, reader->position, &entry, used, err);
  if (status || !*used)
    return status;
  reader->position += *used;
  ARRAY_PUSH(reader->toc.entries, reader->toc.entry_count, entry);
  return reader->toc.entry_count < reader->entries_wanted ? STATUS_OK : toc_complete(reader, err);
}

/* The entry a data block belongs to; marks it as seen. NULL if there is none, or it came already. */
static const ArchiveEntry *block_entry(ArchiveReader *reader, int64_t dump_id) {
  size_t low = 0, high = reader->data_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    const ArchiveEntry *entry = &reader->toc.entries[reader->data_entries[middle]];
    if (entry->dump_id == dump_id) {
      bool again = reader->seen[middle];
      reader->seen[middle] = true;
      return again ? NULL : entry;
    }
    if (entry->dump_id < dump_id)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

static Status step_block(ArchiveReader *reader, TocCursor *cursor, Error *err) {
  uint8_t type = toc_read_byte(cursor);
  int64_t dump_id = toc_read_int(cursor);
  if (cursor->short_of_data)
    return STATUS_OK;
  if (cursor->invalid || (type != BLOCK_DATA && type != BLOCK_BLOBS))
    return damaged(err, reader->position, "no data block starts here");
  reader->block = block_entry(reader, dump_id);
  if (!reader->block)
    return damaged(err, reader->position, "a data block belongs to no entry, or comes twice");
  reader->in_blobs = type == BLOCK_BLOBS;
  reader->phase = reader->in_blobs ? PHASE_BLOB : PHASE_CHUNK;
  uint64_t offset = reader->position;
  return reader->callbacks.block_begin ? reader->callbacks.block_begin(reader->user, reader->block, offset, err)
                                       : STATUS_OK;
}

/* `end`: the stream position just behind the block. */
static Status block_complete(ArchiveReader *reader, uint64_t end, Error *err) {
  const ArchiveEntry *entry = reader->block;
  reader->block = NULL;
  reader->phase = PHASE_BLOCK;
  return reader->callbacks.block_end ? reader->callbacks.block_end(reader->user, entry, end, err) : STATUS_OK;
}

static Status step_blob(ArchiveReader *reader, TocCursor *cursor, Error *err) {
  int64_t oid = toc_read_int(cursor);
  if (cursor->short_of_data)
    return STATUS_OK;
  /* An OID is unsigned; pg_dump writes it as an int, so large ones come negative. */
  if (cursor->invalid || oid < INT32_MIN || oid > UINT32_MAX)
    return damaged(err, reader->position, "impossible large object");
  if (oid == 0)
    return block_complete(reader, reader->position + cursor->pos, err);
  reader->phase = PHASE_CHUNK;
  return reader->callbacks.blob_begin ? reader->callbacks.blob_begin(reader->user, reader->block, (uint32_t)oid, err)
                                      : STATUS_OK;
}

static Status step_chunk(ArchiveReader *reader, TocCursor *cursor, Error *err) {
  int64_t length = toc_read_int(cursor);
  if (cursor->short_of_data)
    return STATUS_OK;
  if (cursor->invalid || length < 0 || length > CHUNK_LIMIT)
    return damaged(err, reader->position, "impossible length of a piece of data");
  if (length > 0) {
    reader->chunk_left = (uint64_t)length;
    reader->phase = PHASE_DATA;
    return STATUS_OK;
  }
  if (!reader->in_blobs)
    return block_complete(reader, reader->position + cursor->pos, err);
  reader->phase = PHASE_BLOB;
  return reader->callbacks.blob_end ? reader->callbacks.blob_end(reader->user, err) : STATUS_OK;
}

static Status step_small(ArchiveReader *reader, const uint8_t *data, size_t size, size_t *used, Error *err) {
  TocCursor cursor = {.data = data, .size = size, .int_size = reader->toc.header.int_size};
  Status status = reader->phase == PHASE_BLOCK  ? step_block(reader, &cursor, err)
                  : reader->phase == PHASE_BLOB ? step_blob(reader, &cursor, err)
                                                : step_chunk(reader, &cursor, err);
  if (status || cursor.short_of_data) {
    *used = 0;
    return status;
  }
  *used = cursor.pos;
  reader->position += cursor.pos;
  return STATUS_OK;
}

static Status step_data(ArchiveReader *reader, const uint8_t *data, size_t size, size_t *used, Error *err) {
  size_t piece = size < reader->chunk_left ? size : (size_t)reader->chunk_left;
  *used = piece;
  reader->chunk_left -= piece;
  reader->position += piece;
  if (reader->chunk_left == 0)
    reader->phase = PHASE_CHUNK;
  return reader->callbacks.block_data && piece ? reader->callbacks.block_data(reader->user, data, piece, err)
                                               : STATUS_OK;
}

/* Consumes what it can of data; *used tells how much. */
static Status consume(ArchiveReader *reader, const uint8_t *data, size_t size, size_t *used, Error *err) {
  *used = 0;
  while (*used < size) {
    size_t step = 0;
    const uint8_t *at = data + *used;
    size_t left = size - *used;
    Status status = reader->phase == PHASE_HEADER    ? step_header(reader, at, left, &step, err)
                    : reader->phase == PHASE_ENTRIES ? step_entry(reader, at, left, &step, err)
                    : reader->phase == PHASE_DATA    ? step_data(reader, at, left, &step, err)
                                                     : step_small(reader, at, left, &step, err);
    if (status)
      return status;
    if (step == 0)
      return STATUS_OK;
    *used += step;
  }
  return STATUS_OK;
}

/* Items that straddle two feeds are put together in `pending`; chunk data never is. */
static Status feed(ArchiveReader *reader, const uint8_t *data, size_t size, Error *err) {
  size_t used = 0;
  if (reader->pending.size > 0 && reader->phase > PHASE_ENTRIES) {
    /* A small item (at most 10 bytes) was cut: complete it with a few bytes, so that the rest need not be copied. */
    while (reader->pending.size > 0 && size > 0) {
      buffer_append_byte(&reader->pending, *data++);
      size--;
      Status status = consume(reader, reader->pending.data, reader->pending.size, &used, err);
      if (status)
        return status;
      if (used > 0)
        buffer_clear(&reader->pending);
    }
  } else if (reader->pending.size > 0) {
    if (reader->pending.size > PENDING_MAX)
      return damaged(err, reader->position, "an entry of the table of contents is too large");
    buffer_append(&reader->pending, data, size);
    Buffer whole = reader->pending;
    reader->pending = (Buffer){0};
    Status status = consume(reader, whole.data, whole.size, &used, err);
    if (!status)
      buffer_append(&reader->pending, whole.data + used, whole.size - used);
    buffer_release(&whole);
    return status;
  }
  if (size == 0)
    return STATUS_OK;
  Status status = consume(reader, data, size, &used, err);
  if (!status && used < size)
    buffer_append(&reader->pending, data + used, size - used);
  return status;
}

Status archive_reader_feed(ArchiveReader *reader, const void *data, size_t size, Error *err) {
  if (reader->phase == PHASE_BROKEN)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the archive was refused before");
  Status status = feed(reader, data, size, err);
  if (status)
    reader->phase = PHASE_BROKEN;
  return status;
}

Status archive_reader_finish(ArchiveReader *reader, Error *err) {
  if (reader->phase == PHASE_BROKEN)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the archive was refused before");
  if (reader->phase != PHASE_BLOCK || reader->pending.size > 0)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the archive ends too early, after %llu bytes",
                     (unsigned long long)(reader->position + reader->pending.size));
  for (size_t i = 0; i < reader->data_count; i++)
    if (!reader->seen[i]) {
      const ArchiveEntry *entry = &reader->toc.entries[reader->data_entries[i]];
      return error_set(err, ERR_ARCHIVE_FORMAT, "the archive ends before the data of %s %s", entry->desc, entry->tag);
    }
  return STATUS_OK;
}
