/*
 * A directory as repository. An object is written under a temporary name (".put-*"; keys cannot start with a dot), made
 * durable, and linked to its name: link(2) fails where the name exists, so of two racing puts one wins, and a reader
 * sees a whole object or none. Paths are opened part by part without following symbolic links.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/repository/repository.h"

enum { STALE_SECONDS = 24 * 3600 };
static const char TEMPORARY[] = ".put-";

typedef struct Directory {
  int root;
} Directory;

static void close_dir(DIR **dir) {
  if (*dir)
    closedir(*dir);
}

static Status absent_or_errno(Error *err, int reason, const char *key, const char *what) {
  if (reason == ENOENT)
    return error_set(err, ERR_OBJECT_NOT_FOUND, "there is no object %s", key);
  if (reason == ELOOP)
    return error_set(err, ERR_IO, "%s is a symbolic link, which a repository does not follow", key);
  return error_set_errno(err, reason, "cannot %s %s", what, key);
}

/* Opens the directory that holds `key`, making missing ones if asked; *leaf is the last part. -1 with errno. */
static int open_parent(int root, const char *key, bool make, const char **leaf) {
  int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
  const char *at = key;
  for (const char *slash; fd >= 0 && (slash = strchr(at, '/')); at = slash + 1) {
    CLEANUP_FREE char *part = memory_strndup(at, (size_t)(slash - at));
    bool made = make && mkdirat(fd, part, 0700) == 0;
    if (made)
      fsync(fd); /* the new name must outlive a crash as the object does */
    int next = openat(fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int reason = errno;
    close(fd);
    errno = reason;
    fd = next;
  }
  *leaf = at;
  return fd;
}

static Status write_object(int parent, const char *temporary, const char *leaf, const char *key, const void *data,
                           size_t size, Error *err) {
  CLEANUP_CLOSE int fd = openat(parent, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return error_set_errno(err, errno, "cannot create %s", key);
  Status status = file_write_all(fd, data, size, err);
  if (status)
    return error_prefix(err, "%s", key);
  if (fsync(fd) != 0)
    return error_set_errno(err, errno, "cannot flush %s to disk", key);
  if (linkat(parent, temporary, parent, leaf, 0) == 0)
    return STATUS_OK;
  if (errno == EEXIST)
    return error_set(err, ERR_OBJECT_EXISTS, "the object %s exists already", key);
  return error_set_errno(err, errno, "cannot name %s", key);
}

static Status directory_put(void *backend, const char *key, const void *data, size_t size, Error *err) {
  Directory *directory = backend;
  const char *leaf;
  CLEANUP_CLOSE int parent = open_parent(directory->root, key, true, &leaf);
  if (parent < 0)
    return absent_or_errno(err, errno, key, "make directories for");
  Id id = id_new();
  CLEANUP_FREE char *temporary = memory_format("%s%s", TEMPORARY, id.text);
  Status status = write_object(parent, temporary, leaf, key, data, size, err);
  unlinkat(parent, temporary, 0);
  if (!status && fsync(parent) != 0)
    status = error_set_errno(err, errno, "cannot flush the directory of %s to disk", key);
  return status;
}

static Status directory_get(void *backend, const char *key, size_t limit, Buffer *out, Error *err) {
  Directory *directory = backend;
  const char *leaf;
  CLEANUP_CLOSE int parent = open_parent(directory->root, key, false, &leaf);
  if (parent < 0)
    return absent_or_errno(err, errno, key, "open");
  CLEANUP_CLOSE int fd = openat(parent, leaf, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0)
    return absent_or_errno(err, errno, key, "open");
  if (!S_ISREG(st.st_mode))
    return error_set(err, ERR_SEGMENT_CORRUPT, "%s is not a regular file", key);
  if ((uint64_t)st.st_size > limit)
    return error_set(err, ERR_SEGMENT_CORRUPT, "%s has %lld bytes, more than such an object may have", key,
                     (long long)st.st_size);
  buffer_clear(out);
  buffer_reserve(out, (size_t)st.st_size + 1);
  while (out->size <= limit) {
    buffer_reserve(out, out->size + 65536);
    ssize_t got = read(fd, out->data + out->size, 65536);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return error_set_errno(err, errno, "cannot read %s", key);
    if (got == 0)
      return STATUS_OK;
    out->size += (size_t)got;
  }
  return error_set(err, ERR_SEGMENT_CORRUPT, "%s grew while it was read", key);
}

static Status directory_remove(void *backend, const char *key, Error *err) {
  Directory *directory = backend;
  const char *leaf;
  CLEANUP_CLOSE int parent = open_parent(directory->root, key, false, &leaf);
  if (parent < 0 || unlinkat(parent, leaf, 0) != 0)
    return absent_or_errno(err, errno, key, "remove");
  return fsync(parent) == 0 ? STATUS_OK : error_set_errno(err, errno, "cannot flush the removal of %s to disk", key);
}

typedef struct Listing {
  const char *prefix;
  char **keys;
  size_t count;
} Listing;

static bool worth_entering(const Listing *listing, const char *path) {
  size_t length = strlen(path), prefix = strlen(listing->prefix);
  return strncmp(path, listing->prefix, length < prefix ? length : prefix) == 0;
}

static void remove_stale(int fd, const char *name, const struct stat *st) {
  if (strncmp(name, TEMPORARY, sizeof TEMPORARY - 1) == 0 && time(NULL) - st->st_mtime > STALE_SECONDS)
    unlinkat(fd, name, 0);
}

static Status walk(int parent, const char *name, const char *path, Listing *listing, Error *err) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  CLEANUP(close_dir) DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
  if (!dir) {
    int reason = errno;
    if (fd >= 0)
      close(fd);
    return reason == ENOENT ? STATUS_OK
                            : error_set_errno(err, reason, "cannot list %s", *path ? path : "the repository");
  }
  for (struct dirent *entry; (entry = readdir(dir));) {
    struct stat st;
    if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
      continue;
    if (entry->d_name[0] == '.') {
      remove_stale(fd, entry->d_name, &st);
      continue;
    }
    char *key = memory_format("%s%s%s", path, *path ? "/" : "", entry->d_name);
    Status status = STATUS_OK;
    if (S_ISDIR(st.st_mode) && worth_entering(listing, key)) {
      status = walk(fd, entry->d_name, key, listing, err);
    } else if (S_ISREG(st.st_mode) && strncmp(key, listing->prefix, strlen(listing->prefix)) == 0 &&
               repository_key_valid(key)) {
      ARRAY_PUSH(listing->keys, listing->count, key);
      key = NULL;
    }
    free(key);
    if (status)
      return status;
  }
  return STATUS_OK;
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static uint64_t size_of(int root, const char *key) {
  const char *leaf;
  struct stat st;
  CLEANUP_CLOSE int parent = open_parent(root, key, false, &leaf);
  return parent >= 0 && fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

static Status directory_list(void *backend, const char *prefix, RepositoryVisit *visit, void *user, Error *err) {
  Directory *directory = backend;
  Listing listing = {.prefix = prefix};
  Status status = walk(directory->root, ".", "", &listing, err);
  if (!status && listing.count) {
    qsort(listing.keys, listing.count, sizeof *listing.keys, by_text);
    for (size_t i = 0; i < listing.count; i++)
      if (!visit(user, listing.keys[i], size_of(directory->root, listing.keys[i])))
        break;
  }
  for (size_t i = 0; i < listing.count; i++)
    free(listing.keys[i]);
  free(listing.keys);
  return status;
}

static void directory_close(void *backend) {
  Directory *directory = backend;
  close(directory->root);
  free(directory);
}

Status directory_repository_open(const char *path, Repository **out, Error *err) {
  static const RepositoryOps ops = {directory_put, directory_get, directory_list, directory_remove, directory_close};
  Status status = file_make_dirs(path, 0700, err);
  if (status)
    return status;
  int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (root < 0)
    return error_set_errno(err, errno, "cannot open the repository %s", path);
  Directory *directory = memory_alloc(sizeof *directory);
  directory->root = root;
  CLEANUP_FREE char *description = memory_format("directory %s", path);
  *out = repository_new(&ops, directory, description);
  return STATUS_OK;
}
