/*
 * A directory as repository. An object is written under a temporary name in the repository's root (".put-*"; keys
 * cannot start with a dot), made durable, and linked to its name: link(2) fails where the name exists, so of two racing
 * puts one wins, and a reader sees a whole object or none. Paths are opened part by part without following symbolic
 * links.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/repository/directory.h"
#include "common/repository/repository.h"

enum { STALE_SECONDS = 24 * 3600, PUT_TRIES = 100 };
static const char TEMPORARY[] = ".put-";

typedef struct Directory {
  int root;
} Directory;

static Status failed(Error *err, int reason, const char *key, const char *what) {
  if (reason == ENOENT)
    return error_set(err, ERR_OBJECT_NOT_FOUND, "there is no object %s", key);
  if (reason == ELOOP || reason == ENOTDIR)
    return error_set(err, ERR_IO, "cannot %s %s: a part of its path is a symbolic link or no directory", what, key);
  return error_set_errno(err, reason, "cannot %s %s", what, key);
}

/* Makes one directory, durably. It may have been made by another put that has not flushed it yet, so its name is
 * flushed in any case. */
static bool make_part(int parent, const char *part) {
  return (mkdirat(parent, part, 0700) == 0 || errno == EEXIST) && fsync(parent) == 0;
}

/* Opens the directory that holds `key`, making missing ones if asked; *leaf is the last part. -1 with errno. */
static int open_parent(int root, const char *key, bool make, const char **leaf) {
  int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
  const char *at = key;
  for (const char *slash; fd >= 0 && (slash = strchr(at, '/')); at = slash + 1) {
    CLEANUP_FREE char *part = memory_strndup(at, (size_t)(slash - at));
    bool ready = !make || make_part(fd, part);
    int next = ready ? openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    int reason = errno;
    close(fd);
    errno = reason;
    fd = next;
  }
  *leaf = at;
  return fd;
}

/* Exactly one of several that name the same object succeeds. */
static int name_object(int root, const char *temporary, int parent, const char *leaf) {
  if (linkat(root, temporary, parent, leaf, 0) == 0)
    return 0;
  if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS && errno != EMLINK)
    return errno;
  /* a file system without hard links */
  return renameat2(root, temporary, parent, leaf, RENAME_NOREPLACE) == 0 ? 0 : errno;
}

static Status publish(int root, const char *temporary, const char *key, Error *err) {
  int reason = ENOENT;
  for (int try = 0; try < PUT_TRIES && reason == ENOENT; try++) { /* ENOENT: a remove took the empty directory away */
    const char *leaf;
    CLEANUP_CLOSE int parent = open_parent(root, key, true, &leaf);
    reason = parent >= 0 ? name_object(root, temporary, parent, leaf) : errno;
    if (reason == 0)
      return fsync(parent) == 0 ? STATUS_OK
                                : error_set_errno(err, errno, "cannot flush the directory of %s to disk", key);
  }
  if (reason == EEXIST)
    return error_set(err, ERR_OBJECT_EXISTS, "the object %s exists already", key);
  if (reason == EXDEV) {
    error_set(err, ERR_IO, "%s lies on another file system than the repository", key);
    error_remedy(err, "Keep all of a repository on one file system.");
    return err->status;
  }
  return reason == ENOENT ? error_set_errno(err, reason, "cannot name %s", key) : failed(err, reason, key, "store");
}

static Status write_temporary(int root, const char *temporary, const char *key, const void *data, size_t size,
                              Error *err) {
  CLEANUP_CLOSE int fd = openat(root, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return error_set_errno(err, errno, "cannot create a file for %s", key);
  Status status = file_write_all(fd, data, size, err);
  if (status)
    return error_prefix(err, "%s", key);
  return fsync(fd) == 0 ? STATUS_OK : error_set_errno(err, errno, "cannot flush %s to disk", key);
}

static Status directory_put(void *backend, const char *key, const void *data, size_t size, const uint8_t *sha256,
                            RepositoryVersion *version, Error *err) {
  (void)sha256, (void)version;
  const Directory *directory = backend;
  Id id = id_new();
  CLEANUP_FREE char *temporary = memory_format("%s%s", TEMPORARY, id.text);
  Status status = write_temporary(directory->root, temporary, key, data, size, err);
  if (!status)
    status = publish(directory->root, temporary, key, err);
  unlinkat(directory->root, temporary, 0); /* gone already if it was renamed */
  return status;
}

static Status read_object(int fd, const char *key, size_t expected, size_t limit, Buffer *out, Error *err) {
  buffer_clear(out);
  buffer_reserve(out, expected + 1); /* one more, to see the end without growing */
  for (;;) {
    if (out->size == out->capacity)
      buffer_reserve(out, out->capacity + 65536);
    ssize_t got = read(fd, out->data + out->size, out->capacity - out->size);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return error_set_errno(err, errno, "cannot read %s", key);
    if (got == 0)
      return STATUS_OK;
    out->size += (size_t)got;
    if (out->size > limit)
      return error_set(err, ERR_SEGMENT_CORRUPT, "%s has more bytes than such an object may have (%zu)", key, limit);
  }
}

static Status directory_get(void *backend, const char *key, size_t limit, Buffer *out, Error *err) {
  const Directory *directory = backend;
  const char *leaf;
  CLEANUP_CLOSE int parent = open_parent(directory->root, key, false, &leaf);
  if (parent < 0)
    return failed(err, errno, key, "open");
  CLEANUP_CLOSE int fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0)
    return failed(err, errno, key, "open");
  if (S_ISDIR(st.st_mode))
    return error_set(err, ERR_OBJECT_NOT_FOUND, "%s is no object, but holds objects", key);
  if (!S_ISREG(st.st_mode))
    return error_set(err, ERR_SEGMENT_CORRUPT, "%s is not a regular file", key);
  if ((uint64_t)st.st_size > limit)
    return error_set(err, ERR_SEGMENT_CORRUPT, "%s has %lld bytes, more than such an object may have (%zu)", key,
                     (long long)st.st_size, limit);
  return read_object(fd, key, (size_t)st.st_size, limit, out, err);
}

/* Directories that are empty now go too, from the innermost; a put that wants one meanwhile makes it again. */
static void remove_empty_parents(int root, const char *key) {
  CLEANUP_FREE char *path = memory_strdup(key);
  for (char *slash; (slash = strrchr(path, '/'));) {
    *slash = '\0';
    const char *leaf;
    CLEANUP_CLOSE int parent = open_parent(root, path, false, &leaf);
    if (parent < 0 || unlinkat(parent, leaf, AT_REMOVEDIR) != 0)
      return;
  }
}

static Status directory_remove(void *backend, const char *key, RepositoryRemoval *removal, Error *err) {
  (void)removal;
  const Directory *directory = backend;
  const char *leaf;
  CLEANUP_CLOSE int parent = open_parent(directory->root, key, false, &leaf);
  if (parent < 0 || unlinkat(parent, leaf, 0) != 0) {
    int reason = errno;
    if (reason == EISDIR)
      return error_set(err, ERR_OBJECT_NOT_FOUND, "%s is no object, but holds objects", key);
    return failed(err, reason, key, "remove");
  }
  if (fsync(parent) != 0)
    return error_set_errno(err, errno, "cannot flush the removal of %s to disk", key);
  remove_empty_parents(directory->root, key);
  return STATUS_OK;
}

static Status directory_list(void *backend, const char *prefix, const char *after, RepositoryVisit *visit, void *user,
                             Error *err) {
  const Directory *directory = backend;
  return directory_list_keys(directory->root, prefix, after, visit, user, err);
}

static void directory_close(void *backend) {
  Directory *directory = backend;
  close(directory->root);
  free(directory);
}

/* What puts that were killed left behind. An agent that may not remove them leaves them to one that may. */
static void remove_stale(int root) {
  CLEANUP(directory_close_stream) DIR *stream = directory_open_stream(root, ".");
  for (struct dirent *entry; stream && (entry = readdir(stream));) {
    struct stat st;
    if (strncmp(entry->d_name, TEMPORARY, sizeof TEMPORARY - 1) == 0 &&
        fstatat(root, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && time(NULL) - st.st_mtime > STALE_SECONDS)
      unlinkat(root, entry->d_name, 0);
  }
}

Status directory_repository_open(const char *path, Repository **out, Error *err) {
  static const RepositoryOps ops = {.put = directory_put,
                                    .get = directory_get,
                                    .list = directory_list,
                                    .remove = directory_remove,
                                    .close = directory_close};
  Status status = file_make_dirs(path, 0700, err);
  if (status)
    return status;
  int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) {
    error_set_errno(err, errno, "cannot open the repository %s", path);
    error_object(err, "%s", path);
    return err->status;
  }
  remove_stale(root);
  Directory *directory = memory_alloc(sizeof *directory);
  directory->root = root;
  CLEANUP_FREE char *description = memory_format("directory %s", path);
  *out = repository_new(&ops, directory, description);
  return STATUS_OK;
}
