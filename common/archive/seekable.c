#include "common/archive/seekable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

/* States of an entry's offset field (pg_backup_archiver.h). */
enum { OFFSET_SET = 2, OFFSET_NO_DATA = 3 };

typedef struct BlockPlace {
  uint64_t field, offset;
} BlockPlace;

struct SeekableWriter {
  int fd;
  ArchiveReader *reader;
  BlockPlace *places;
  size_t place_count;
};

static Status on_block(void *user, const ArchiveEntry *entry, uint64_t offset, Error *err) {
  (void)err;
  SeekableWriter *writer = user;
  BlockPlace place = {entry->offset_field, offset};
  ARRAY_PUSH(writer->places, writer->place_count, place);
  return STATUS_OK;
}

SeekableWriter *seekable_writer_new(int fd) {
  static const ArchiveCallbacks callbacks = {.block_begin = on_block};
  SeekableWriter *writer = memory_alloc(sizeof *writer);
  writer->fd = fd;
  writer->reader = archive_reader_new(&callbacks, writer);
  return writer;
}

void seekable_writer_free(SeekableWriter *writer) {
  if (!writer)
    return;
  archive_reader_free(writer->reader);
  free(writer->places);
  free(writer);
}

Status seekable_writer_feed(SeekableWriter *writer, const void *data, size_t size, Error *err) {
  Status status = archive_reader_feed(writer->reader, data, size, err);
  return status ? status : file_write_all(writer->fd, data, size, err);
}

static Status patch(SeekableWriter *writer, uint64_t field, uint8_t state, uint64_t offset, Error *err) {
  int width = archive_reader_toc(writer->reader)->header.offset_size;
  uint8_t bytes[9] = {state};
  for (int i = 0; i < width; i++)
    bytes[1 + i] = i < 8 ? (uint8_t)(offset >> (8 * i)) : 0;
  ssize_t done = pwrite(writer->fd, bytes, (size_t)width + 1, (off_t)field);
  return done == width + 1 ? STATUS_OK : error_set_errno(err, done < 0 ? errno : ENOSPC, "cannot write data offsets");
}

Status seekable_writer_finish(SeekableWriter *writer, Error *err) {
  Status status = archive_reader_finish(writer->reader, err);
  const ArchiveToc *toc = archive_reader_toc(writer->reader);
  for (size_t i = 0; !status && i < toc->entry_count; i++)
    if (!toc->entries[i].had_dumper)
      status = patch(writer, toc->entries[i].offset_field, OFFSET_NO_DATA, 0, err);
  for (size_t i = 0; !status && i < writer->place_count; i++)
    status = patch(writer, writer->places[i].field, OFFSET_SET, writer->places[i].offset, err);
  if (!status && fsync(writer->fd) != 0)
    status = error_set_errno(err, errno, "cannot flush the archive to disk");
  return status;
}
