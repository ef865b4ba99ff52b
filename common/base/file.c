#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { FILE_TREE_DEPTH_LIMIT = 128 };

Status file_read(const char *path, size_t limit, Buffer *out, Error *err) {
  CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      error_set(err, ERR_NOT_FOUND, "%s: %s", path, "no such file");
      error_remedy(err, "Create %s, or name the right path.", path);
    } else {
      error_set_errno(err, errno, "cannot open %s", path);
    }
    error_object(err, "%s", path);
    return err->status;
  }
  CLEANUP(buffer_release) Buffer content = {0};
  for (;;) {
    uint8_t piece[65536];
    ssize_t got = read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0) {
      error_set_errno(err, errno, "cannot read %s", path);
      error_object(err, "%s", path);
      return err->status;
    }
    if (got == 0)
      break;
    if ((size_t)got > limit - content.size) {
      error_set(err, ERR_INVALID_ARGUMENT, "%s is larger than the %zu bytes allowed", path, limit);
      error_object(err, "%s", path);
      return err->status;
    }
    buffer_append(&content, piece, (size_t)got);
  }
  if (out->size == 0) { /* spare secrets and large files the second copy */
    buffer_release(out);
    *out = content;
    content = (Buffer){0};
  } else {
    buffer_append(out, content.data, content.size);
  }
  buffer_text(out);
  return STATUS_OK;
}

Status file_read_text(const char *path, size_t limit, char **text, Error *err) {
  CLEANUP(buffer_release) Buffer content = {0};
  Status status = file_read(path, limit, &content, err);
  if (status != STATUS_OK)
    return status;
  if (content.size > 0 && memchr(content.data, 0, content.size)) {
    error_set(err, ERR_INVALID_ARGUMENT, "%s is not a text file: it holds a zero byte", path);
    error_object(err, "%s", path);
    return err->status;
  }
  if (content.size > 0 && content.data[content.size - 1] == '\n')
    content.size--;
  if (content.size > 0 && content.data[content.size - 1] == '\r')
    content.size--;
  *text = buffer_steal_text(&content);
  return STATUS_OK;
}

bool file_room(const char *path, uint64_t *device, uint64_t *free_bytes, uint64_t *total_bytes) {
  CLEANUP_FREE char *at = memory_strdup(path);
  struct statvfs room;
  struct stat info;
  while (stat(at, &info) != 0 || statvfs(at, &room) != 0) {
    char *slash = strrchr(at, '/');
    if ((errno != ENOENT && errno != EACCES) || !slash || !at[1])
      return false;
    slash[slash == at] = '\0'; /* "/" stays */
  }
  *device = info.st_dev;
  *free_bytes = (uint64_t)room.f_bavail * room.f_frsize; /* what root alone may take is not free */
  *total_bytes = (uint64_t)room.f_blocks * room.f_frsize;
  return *total_bytes > 0;
}

Status file_write_all(int fd, const void *data, size_t size, Error *err) {
  const uint8_t *p = data;
  while (size > 0) {
    ssize_t wrote = write(fd, p, size);
    if (wrote < 0 && errno == EINTR)
      continue;
    if (wrote < 0)
      return error_set_errno(err, errno, "cannot write");
    p += wrote;
    size -= (size_t)wrote;
  }
  return STATUS_OK;
}

static char *file_parent(const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash)
    return memory_strdup(".");
  return memory_strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static Status file_sync_parent(const char *path, Error *err) {
  CLEANUP_FREE char *parent = file_parent(path);
  CLEANUP_CLOSE int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fsync(fd) != 0)
    return error_set_errno(err, errno, "cannot sync directory %s", parent);
  return STATUS_OK;
}

static Status file_fill(int fd, const char *path, mode_t mode, const void *data, size_t size, Error *err) {
  Status status = file_write_all(fd, data, size, err);
  if (status != STATUS_OK) {
    error_prefix(err, "%s", path);
    error_object(err, "%s", path);
    return status;
  }
  if (fchmod(fd, mode) != 0 || fsync(fd) != 0)
    return error_set_errno(err, errno, "cannot sync %s", path);
  return STATUS_OK;
}

Status file_write_atomic(const char *path, mode_t mode, const void *data, size_t size, Error *err) {
  CLEANUP_FREE char *temporary = memory_format("%s.tmp-XXXXXX", path);
  CLEANUP_CLOSE int fd = mkostemp(temporary, O_CLOEXEC); /* 0600 until it has its mode: it may be a secret */
  if (fd < 0) {
    error_set_errno(err, errno, "cannot create a file beside %s", path);
    error_object(err, "%s", path);
    return err->status;
  }
  Status status = file_fill(fd, path, mode, data, size, err);
  if (status == STATUS_OK && rename(temporary, path) != 0)
    status = error_set_errno(err, errno, "cannot rename onto %s", path);
  if (status != STATUS_OK) {
    unlink(temporary);
    return status;
  }
  return file_sync_parent(path, err);
}

Status file_make_dirs(const char *path, mode_t mode, Error *err) {
  CLEANUP_FREE char *partial = memory_strdup(path);
  for (char *p = partial + (*partial == '/');; p++) {
    if (*p != '/' && *p != '\0')
      continue;
    char kept = *p;
    *p = '\0';
    int failed = *partial && mkdir(partial, mode) != 0 ? errno : 0;
    struct stat info;
    if (failed && (stat(partial, &info) != 0 || !S_ISDIR(info.st_mode))) {
      error_set_errno(err, failed == EEXIST ? ENOTDIR : failed, "cannot create directory %s", partial);
      error_object(err, "%s", partial);
      return err->status;
    }
    *p = kept;
    if (kept == '\0')
      return STATUS_OK;
  }
}

/* By descriptors, never by path below the top: whoever owns a directory inside cannot lead a privileged
 * caller elsewhere with a symbolic link. Returns 0 or an errno value. */
static int file_remove_entries(int dir_fd, dev_t device, int depth) {
  if (depth > FILE_TREE_DEPTH_LIMIT) {
    close(dir_fd);
    return ELOOP;
  }
  DIR *dir = fdopendir(dir_fd);
  if (!dir) {
    int failed = errno;
    close(dir_fd);
    return failed;
  }
  int failed = 0;
  struct dirent *entry;
  while ((entry = readdir(dir))) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
      continue;
    int child = errno == EISDIR || errno == EPERM
                    ? openat(dirfd(dir), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                    : -1;
    struct stat info;
    int result = child < 0 ? errno : fstat(child, &info) != 0 ? errno : info.st_dev != device ? EXDEV : 0;
    if (result == 0)
      result = file_remove_entries(child, device, depth + 1);
    else if (child >= 0)
      close(child);
    if (result == 0 && unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) != 0 && errno != ENOENT)
      result = errno;
    failed = failed ? failed : result; /* go on: what can go, goes */
  }
  closedir(dir);
  return failed;
}

Status file_remove_tree(const char *path, Error *err) {
  int failed = 0;
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) {
    if (errno == ENOENT)
      return STATUS_OK;
    failed = errno != ENOTDIR && errno != ELOOP ? errno : unlink(path) != 0 ? errno : 0;
  } else {
    struct stat info;
    if (fstat(fd, &info) != 0) {
      failed = errno;
      close(fd);
    } else {
      failed = file_remove_entries(fd, info.st_dev, 0);
    }
    if (!failed && rmdir(path) != 0 && errno != ENOENT)
      failed = errno;
  }
  if (!failed)
    return STATUS_OK;
  error_set_errno(err, failed, "cannot remove %s", path);
  error_object(err, "%s", path);
  return err->status;
}

bool file_exists(const char *path) {
  return access(path, F_OK) == 0;
}

uint64_t file_stamp(const char *path) {
  struct stat info;
  if (stat(path, &info) != 0)
    return 0;
  const uint64_t parts[] = {(uint64_t)info.st_dev, (uint64_t)info.st_ino, (uint64_t)info.st_size,
                            (uint64_t)info.st_mtim.tv_sec, (uint64_t)info.st_mtim.tv_nsec};
  uint64_t stamp = 0xcbf29ce484222325u;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    stamp = (stamp ^ parts[i]) * 0x100000001b3u; /* FNV: a checksum, no more */
  return stamp | 1;
}
