/*
 * Seekable archive: pg_dump leaves data offsets unset when it writes to a pipe. While an archive is
 * copied to a file, note where each block starts, then fill the offset fields in place
 * (pg_backup_custom.c: K_OFFSET_POS_SET = 2, K_OFFSET_NO_DATA = 3), so that pg_restore -j and -t seek.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_SEEKABLE_H
#define PGSEAL_COMMON_ARCHIVE_SEEKABLE_H

#include "common/archive/reader.h"

typedef struct SeekableWriter SeekableWriter;

/* fd: an empty regular file open for writing, owned by the caller. */
SeekableWriter *seekable_writer_new(int fd);
void seekable_writer_free(SeekableWriter *writer);
Status seekable_writer_feed(SeekableWriter *writer, const void *data, size_t size, Error *err) MUST_CHECK;
Status seekable_writer_finish(SeekableWriter *writer, Error *err) MUST_CHECK; /* patches offsets, fsyncs */

#endif
