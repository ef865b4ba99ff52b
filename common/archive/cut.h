/*
 * ArchiveCut: a small archive out of a large one. The header and TOC are taken whole, then the data blocks of some
 * entries; `pg_restore -L` (archive_restore_list) reads it from a pipe. Or one block's COPY text by itself.
 * Bytes come from the caller by position, so that only what is wanted is ever read. What comes is hostile until parsed:
 * a block must be that of its entry and end where it should.
 *
 * One cut belongs to one thread at a time.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_CUT_H
#define PGSEAL_COMMON_ARCHIVE_CUT_H

#include "common/archive/reader.h"

typedef struct ArchiveSource {
  void *user;
  /* Exactly `size` bytes of the archive from `offset` on, or an error. */
  Status (*read)(void *user, uint64_t offset, uint8_t *data, size_t size, Error *err);
} ArchiveSource;

typedef struct ArchiveSink {
  void *user;
  Status (*write)(void *user, const uint8_t *data, size_t size, Error *err);
} ArchiveSink;

typedef struct ArchiveBlock { /* as the manifest's fingerprint has it: FingerprintTable.offset, .end_offset */
  long entry;
  uint64_t offset, end;
} ArchiveBlock;

typedef struct ArchiveCut ArchiveCut;

/* toc_size: of header and TOC, from the manifest. ERR_ARCHIVE_FORMAT if they do not end there. `source` is copied. */
Status archive_cut_open(const ArchiveSource *source, uint64_t toc_size, ArchiveCut **out, Error *err) MUST_CHECK;
void archive_cut_free(ArchiveCut *cut);                   /* NULL is fine */
const ArchiveToc *archive_cut_toc(const ArchiveCut *cut); /* lives as long as the cut */

/* The small archive into sink, blocks in the order of the archive whatever theirs is in `blocks`. */
Status archive_cut_write(ArchiveCut *cut, const ArchiveBlock *blocks, size_t count, const ArchiveSink *sink,
                         Error *err) MUST_CHECK;

/* The rows of one TABLE DATA block as COPY text, without the terminator ("\."). Each block once per cut. */
Status archive_cut_rows(ArchiveCut *cut, const ArchiveBlock *block, const ArchiveSink *sink, Error *err) MUST_CHECK;

#endif
