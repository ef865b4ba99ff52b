/*
 * Files and directories, durable where it says so. Paths are NUL-terminated; errors name them.
 */
#ifndef PGSEAL_COMMON_BASE_FILE_H
#define PGSEAL_COMMON_BASE_FILE_H

#include <sys/types.h>

#include "common/base/buffer.h"
#include "common/base/error.h"

/* Whole file into `out` (appended); ERR_NOT_FOUND if absent, ERR_INVALID_ARGUMENT if larger than limit bytes. */
Status file_read(const char *path, size_t limit, Buffer *out, Error *err) MUST_CHECK;

/* Like file_read for a secret or small setting: one trailing newline is removed; *text is freed by the caller. */
Status file_read_text(const char *path, size_t limit, char **text, Error *err) MUST_CHECK;

/* Writes a temporary file beside path, fsyncs, renames over path, fsyncs the directory. */
Status file_write_atomic(const char *path, mode_t mode, const void *data, size_t size, Error *err) MUST_CHECK;

Status file_make_dirs(const char *path, mode_t mode, Error *err) MUST_CHECK; /* mkdir -p */
Status file_remove_tree(const char *path, Error *err) MUST_CHECK; /* rm -rf, stays on one file system; absent is fine */
bool file_exists(const char *path);
/* Another number when another file is there, or it was written; 0 if there is none. */
uint64_t file_stamp(const char *path);

/* What is free to this user of the file system where path is; or, if path cannot be looked at, the directory above it.
 * device: which file system that is. False: not known. Blocks as long as the file system does. */
bool file_room(const char *path, uint64_t *device, uint64_t *free_bytes, uint64_t *total_bytes);

/* Writes all of it to fd, retrying short writes and EINTR. */
Status file_write_all(int fd, const void *data, size_t size, Error *err) MUST_CHECK;

#endif
