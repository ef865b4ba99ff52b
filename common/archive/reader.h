/*
 * ArchiveReader: reads a custom-format pg_dump archive (1.12 to 1.16, uncompressed: -Z0) as a stream.
 *
 * Push-style: feed any number of bytes at a time, in order; callbacks run from inside
 * archive_reader_feed(). Memory is bounded by the TOC and one chunk, never by the data. The input is
 * hostile until parsed: every length is bounded, every overflow checked.
 * Format: src/bin/pg_dump/pg_backup_archiver.c (ReadHead, ReadToc) and pg_backup_custom.c of PostgreSQL.
 *
 * One reader belongs to one thread at a time.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_READER_H
#define PGSEAL_COMMON_ARCHIVE_READER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

typedef enum ArchiveSection {
  ARCHIVE_SECTION_NONE = 1,
  ARCHIVE_SECTION_PRE_DATA,
  ARCHIVE_SECTION_DATA,
  ARCHIVE_SECTION_POST_DATA
} ArchiveSection;

typedef struct ArchiveHeader {
  int version_major, version_minor, version_revision; /* archive format, e.g. 1.16.0 */
  int int_size, offset_size;
  int compression;      /* 0 = none, the only one accepted by the reader's data path */
  char *database;       /* owned by the reader, as all strings here */
  char *server_version; /* e.g. "17.6 (Debian 17.6-1)" */
  char *dump_version;   /* pg_dump's own */
} ArchiveHeader;

/* One TOC entry; strings are owned by the reader, never NULL (absent ones are ""), valid as long as it. */
typedef struct ArchiveEntry {
  int dump_id;
  uint32_t oid;    /* the object's in its database; 0 for what has none */
  bool had_dumper; /* has a data block */
  char *tag;       /* the object's name */
  char *desc;      /* TABLE, TABLE DATA, INDEX, BLOB, ... */
  ArchiveSection section;
  char *defn, *drop_stmt, *copy_stmt;
  char *schema, *tablespace, *table_am, *owner;
  int relkind; /* 0 before 1.16 */
  int *dependencies;
  size_t dependency_count;
  uint64_t
      offset_field; /* byte position in the stream of the entry's offset field (flag byte, then offset_size bytes) */
} ArchiveEntry;

typedef struct ArchiveToc {
  ArchiveHeader header;
  ArchiveEntry *entries;
  size_t entry_count;
  uint64_t size; /* bytes of header + TOC: data blocks start here */
} ArchiveToc;

/* Any member may be NULL. A callback that returns other than STATUS_OK (err set) stops the reader with it. */
typedef struct ArchiveCallbacks {
  Status (*toc)(void *user, const ArchiveToc *toc, Error *err);
  /* A data block starts at byte `offset` of the stream. */
  Status (*block_begin)(void *user, const ArchiveEntry *entry, uint64_t offset, Error *err);
  /* A large object inside a BLOBS block starts. */
  Status (*blob_begin)(void *user, const ArchiveEntry *entry, uint32_t oid, Error *err);
  /* A piece of the current block (or blob); pieces do not respect line boundaries. */
  Status (*block_data)(void *user, const uint8_t *data, size_t size, Error *err);
  Status (*blob_end)(void *user, Error *err);
  Status (*block_end)(void *user, const ArchiveEntry *entry, uint64_t end_offset, Error *err);
} ArchiveCallbacks;

typedef struct ArchiveReader ArchiveReader;

ArchiveReader *archive_reader_new(const ArchiveCallbacks *callbacks, void *user); /* callbacks copied */
void archive_reader_free(ArchiveReader *reader);                                  /* NULL is fine */

/* ERR_ARCHIVE_FORMAT, ERR_ARCHIVE_VERSION (names the version) or what a callback returned. After an
 * error every further call returns ERR_ARCHIVE_FORMAT. */
Status archive_reader_feed(ArchiveReader *reader, const void *data, size_t size, Error *err) MUST_CHECK;

/* Call at the end of the input: ERR_ARCHIVE_FORMAT if it ends in mid-archive, or a promised data block never came. */
Status archive_reader_finish(ArchiveReader *reader, Error *err) MUST_CHECK;

const ArchiveToc *archive_reader_toc(const ArchiveReader *reader); /* NULL until read whole */

#endif
