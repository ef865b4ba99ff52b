/* Listing of the directory backend: what is there is read whole, sorted, and only then shown. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/repository/directory.h"

typedef struct Found {
  char *key;
  uint64_t size;
} Found;

typedef struct Listing {
  const char *prefix;
  Found *items;
  size_t count;
} Listing;

static void release(Listing *listing) {
  for (size_t i = 0; i < listing->count; i++)
    free(listing->items[i].key);
  free(listing->items);
}

DIR *directory_open_stream(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
  if (!stream && fd >= 0) {
    int reason = errno;
    close(fd);
    errno = reason;
  }
  return stream;
}

void directory_close_stream(DIR **stream) {
  if (*stream)
    closedir(*stream);
}

static bool has_prefix(const char *text, const char *prefix) {
  return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Can a directory of this path hold keys with the prefix? */
static bool is_on_the_way(const char *path, const char *prefix) {
  size_t length = strlen(path);
  return strlen(prefix) <= length ? has_prefix(path, prefix)
                                  : strncmp(path, prefix, length) == 0 && prefix[length] == '/';
}

static Status walk(int parent, const char *name, const char *path, Listing *listing, Error *err);

/* Names that no key has (temporary files, lost+found) and links are none of the repository's. */
static Status visit_entry(int fd, const char *name, const char *path, Listing *listing, Error *err) {
  CLEANUP_FREE char *key = memory_format("%s%s%s", path, *path ? "/" : "", name);
  struct stat st;
  if (!repository_key_valid(key) || !(has_prefix(key, listing->prefix) || is_on_the_way(key, listing->prefix)))
    return STATUS_OK;
  if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? STATUS_OK : error_set_errno(err, errno, "cannot look at %s", key);
  if (S_ISDIR(st.st_mode))
    return is_on_the_way(key, listing->prefix) ? walk(fd, name, key, listing, err) : STATUS_OK;
  if (S_ISREG(st.st_mode) && has_prefix(key, listing->prefix)) {
    Found found = {STEAL(key), (uint64_t)st.st_size};
    ARRAY_PUSH(listing->items, listing->count, found);
  }
  return STATUS_OK;
}

static Status walk(int parent, const char *name, const char *path, Listing *listing, Error *err) {
  const char *shown = *path ? path : "the repository";
  CLEANUP(directory_close_stream) DIR *stream = directory_open_stream(parent, name);
  if (!stream)
    return errno == ENOENT ? STATUS_OK : error_set_errno(err, errno, "cannot list %s", shown);
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(stream);
    if (!entry) /* a listing that ends early must not look like one that is short */
      return errno == 0 ? STATUS_OK : error_set_errno(err, errno, "cannot list %s", shown);
    Status status = visit_entry(dirfd(stream), entry->d_name, path, listing, err);
    if (status)
      return status;
  }
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const Found *)a)->key, ((const Found *)b)->key);
}

Status directory_list_keys(int root, const char *prefix, RepositoryVisit *visit, void *user, Error *err) {
  CLEANUP(release) Listing listing = {.prefix = prefix};
  Status status = walk(root, ".", "", &listing, err);
  if (status)
    return status;
  if (listing.count)
    qsort(listing.items, listing.count, sizeof *listing.items, by_key);
  for (size_t i = 0; i < listing.count; i++)
    if (!visit(user, listing.items[i].key, listing.items[i].size))
      break;
  return STATUS_OK;
}
