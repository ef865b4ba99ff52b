#include "common/archive/cut.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* What ends the rows of a TABLE DATA block; and how much is read at once. */
static const char TERMINATOR[] = "\\.\n\n\n";
enum { TERMINATOR_SIZE = sizeof TERMINATOR - 1, PIECE = 256 << 10, OFFSET_NOT_SET = 1 };
static const uint64_t TOC_LIMIT = UINT64_C(2) << 30;

struct ArchiveCut {
  ArchiveSource source;
  Buffer toc_bytes;
  ArchiveReader *reader; /* has read the TOC, then each block as it comes: it knows what belongs where */
  /* the block being read */
  const ArchiveEntry *wanted;
  bool begun;
  uint64_t begin, size;    /* where the reader saw it begin; what it measured, 0 until its end */
  const ArchiveSink *rows; /* where its rows go, or NULL */
  uint8_t held[TERMINATOR_SIZE];
  size_t held_size;
  bool line_start; /* of what was written so far */
};

static Status damaged(const ArchiveCut *cut, const char *what, Error *err) {
  error_set(err, ERR_ARCHIVE_FORMAT, "the data of %s %s.%s is damaged: %s", cut->wanted->desc, cut->wanted->schema,
            cut->wanted->tag, what);
  error_object(err, "%s.%s", cut->wanted->schema, cut->wanted->tag);
  return err->status;
}

/* ---- what the reader finds ---- */

static Status on_begin(void *user, const ArchiveEntry *entry, uint64_t offset, Error *err) {
  ArchiveCut *cut = user;
  if (entry != cut->wanted || cut->begun)
    return damaged(cut, "another block stands in its place", err);
  cut->begun = true;
  cut->begin = offset;
  return STATUS_OK;
}

static Status write_rows(ArchiveCut *cut, const uint8_t *data, size_t size, Error *err) {
  if (size == 0)
    return STATUS_OK;
  cut->line_start = data[size - 1] == '\n';
  return cut->rows->write(cut->rows->user, data, size, err);
}

/* The last TERMINATOR_SIZE bytes are held back until it is known whether more come. */
static Status on_data(void *user, const uint8_t *data, size_t size, Error *err) {
  ArchiveCut *cut = user;
  if (!cut->rows)
    return STATUS_OK;
  size_t over = cut->held_size + size > TERMINATOR_SIZE ? cut->held_size + size - TERMINATOR_SIZE : 0;
  size_t old = over < cut->held_size ? over : cut->held_size;
  Status status = write_rows(cut, cut->held, old, err);
  cut->held_size -= old;
  memmove(cut->held, cut->held + old, cut->held_size);
  if (!status)
    status = write_rows(cut, data, over - old, err);
  size_t kept = size - (over - old);
  memcpy(cut->held + cut->held_size, data + size - kept, kept);
  cut->held_size += kept;
  return status;
}

static Status on_blob(void *user, const ArchiveEntry *entry, uint32_t oid, Error *err) {
  (void)entry;
  (void)oid;
  ArchiveCut *cut = user;
  return cut->rows ? damaged(cut, "it holds large objects", err) : STATUS_OK;
}

static Status on_end(void *user, const ArchiveEntry *entry, uint64_t end_offset, Error *err) {
  (void)entry;
  ArchiveCut *cut = user;
  cut->size = end_offset - cut->begin;
  bool good = cut->held_size == TERMINATOR_SIZE && memcmp(cut->held, TERMINATOR, TERMINATOR_SIZE) == 0;
  return cut->rows && !(good && cut->line_start) ? damaged(cut, "its rows do not end as COPY data does", err)
                                                 : STATUS_OK;
}

/* ---- opening ---- */

/* Reads [offset, end) in pieces; each goes to the reader, and to sink if there is one. */
static Status pass(ArchiveCut *cut, uint64_t offset, uint64_t end, Buffer *keep, const ArchiveSink *sink, Error *err) {
  CLEANUP_FREE uint8_t *piece = memory_alloc(PIECE);
  Status status = STATUS_OK;
  while (!status && offset < end) {
    size_t size = end - offset < PIECE ? (size_t)(end - offset) : PIECE;
    status = cut->source.read(cut->source.user, offset, piece, size, err);
    if (!status)
      status = archive_reader_feed(cut->reader, piece, size, err);
    if (!status && keep)
      buffer_append(keep, piece, size);
    if (!status && sink)
      status = sink->write(sink->user, piece, size, err);
    offset += size;
  }
  return status;
}

Status archive_cut_open(const ArchiveSource *source, uint64_t toc_size, ArchiveCut **out, Error *err) {
  static const ArchiveCallbacks callbacks = {
      .block_begin = on_begin, .blob_begin = on_blob, .block_data = on_data, .block_end = on_end};
  if (toc_size == 0 || toc_size > TOC_LIMIT)
    return error_set(err, ERR_ARCHIVE_FORMAT, "an archive's table of contents cannot have %llu bytes",
                     (unsigned long long)toc_size);
  ArchiveCut *cut = memory_alloc(sizeof *cut);
  static const ArchiveEntry nothing = {.desc = (char *)"TABLE OF CONTENTS", .schema = (char *)"", .tag = (char *)""};
  cut->wanted = &nothing;
  cut->source = *source;
  cut->reader = archive_reader_new(&callbacks, cut);
  Status status = pass(cut, 0, toc_size, &cut->toc_bytes, NULL, err);
  const ArchiveToc *toc = status ? NULL : archive_reader_toc(cut->reader);
  if (!status && (!toc || toc->size != toc_size))
    status = error_set(err, ERR_ARCHIVE_FORMAT, "the archive's table of contents does not end after %llu bytes",
                       (unsigned long long)toc_size);
  if (status) {
    archive_cut_free(cut);
    return status;
  }
  *out = cut;
  return STATUS_OK;
}

void archive_cut_free(ArchiveCut *cut) {
  if (!cut)
    return;
  archive_reader_free(cut->reader);
  buffer_release(&cut->toc_bytes);
  free(cut);
}

const ArchiveToc *archive_cut_toc(const ArchiveCut *cut) {
  return archive_reader_toc(cut->reader);
}

/* ---- blocks ---- */

static Status pass_block(ArchiveCut *cut, const ArchiveBlock *block, const ArchiveSink *raw, const ArchiveSink *rows,
                         Error *err) {
  const ArchiveToc *toc = archive_cut_toc(cut);
  if (block->entry < 0 || (size_t)block->entry >= toc->entry_count || !toc->entries[block->entry].had_dumper)
    return error_set(err, ERR_INTERNAL, "entry %ld of the archive has no data", block->entry);
  cut->wanted = &toc->entries[block->entry];
  cut->rows = rows;
  cut->begun = false;
  cut->size = 0;
  cut->held_size = 0;
  cut->line_start = true;
  if (block->offset < toc->size || block->end <= block->offset)
    return damaged(cut, "its place in the archive is impossible", err);
  Status status = pass(cut, block->offset, block->end, NULL, raw, err);
  bool whole = cut->size == block->end - block->offset;
  return status || whole ? status : damaged(cut, "it does not end where it should", err);
}

Status archive_cut_rows(ArchiveCut *cut, const ArchiveBlock *block, const ArchiveSink *sink, Error *err) {
  return pass_block(cut, block, NULL, sink, err);
}

/* Offsets of blocks that are elsewhere now would mislead pg_restore: without them it reads in order. */
static void forget_offsets(ArchiveCut *cut) {
  const ArchiveToc *toc = archive_cut_toc(cut);
  for (size_t i = 0; i < toc->entry_count; i++)
    if (toc->entries[i].had_dumper) {
      uint8_t *field = cut->toc_bytes.data + toc->entries[i].offset_field;
      memset(field, 0, (size_t)toc->header.offset_size + 1);
      field[0] = OFFSET_NOT_SET;
    }
}

static int by_offset(const void *a, const void *b) {
  uint64_t x = ((const ArchiveBlock *)a)->offset, y = ((const ArchiveBlock *)b)->offset;
  return (x > y) - (x < y);
}

Status archive_cut_write(ArchiveCut *cut, const ArchiveBlock *blocks, size_t count, const ArchiveSink *sink,
                         Error *err) {
  CLEANUP_FREE ArchiveBlock *sorted = memory_alloc((count + 1) * sizeof *sorted);
  if (count) {
    memcpy(sorted, blocks, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_offset);
  }
  forget_offsets(cut);
  Status status = sink->write(sink->user, cut->toc_bytes.data, cut->toc_bytes.size, err);
  for (size_t i = 0; !status && i < count; i++)
    status = pass_block(cut, &sorted[i], sink, NULL, err);
  return status;
}
