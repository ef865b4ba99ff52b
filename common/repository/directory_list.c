/* Listing of the directory backend, in the order of keys: of one directory after the other, what is there is read
 * whole, sorted, and only then shown. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/repository/directory.h"

/* What a directory holds. A directory's name ends with '/', as in the keys below it: that is its place among the
 * others. */
typedef struct Entry {
  char *key;
  uint64_t size;
  bool directory;
} Entry;

typedef struct Level {
  Entry *items;
  size_t count;
} Level;

typedef struct Listing {
  const char *prefix, *after; /* after: or NULL */
  RepositoryVisit *visit;
  void *user;
  bool enough; /* the visitor said so */
} Listing;

static void release(Level *level) {
  for (size_t i = 0; i < level->count; i++)
    free(level->items[i].key);
  free(level->items);
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

/* Can there be keys below this directory (with its '/') that are wanted? */
static bool leads_there(const Listing *listing, const char *path) {
  if (!has_prefix(path, listing->prefix) && !has_prefix(listing->prefix, path))
    return false;
  return !listing->after || has_prefix(listing->after, path) || strcmp(path, listing->after) > 0;
}

static bool is_wanted(const Listing *listing, const char *key) {
  return has_prefix(key, listing->prefix) && (!listing->after || strcmp(key, listing->after) > 0);
}

/* Names that no key has (temporary files, lost+found) and links are none of the repository's. */
static Status take_entry(const Listing *listing, int fd, const char *name, const char *path, Level *level, Error *err) {
  CLEANUP_FREE char *key = memory_format("%s%s", path, name);
  CLEANUP_FREE char *below = memory_format("%s/", key);
  struct stat st;
  if (!repository_key_valid(key) || !(is_wanted(listing, key) || leads_there(listing, below)))
    return STATUS_OK;
  if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? STATUS_OK : error_set_errno(err, errno, "cannot look at %s", key);
  Entry entry = {.size = (uint64_t)st.st_size, .directory = S_ISDIR(st.st_mode)};
  if (entry.directory ? !leads_there(listing, below) : !S_ISREG(st.st_mode) || !is_wanted(listing, key))
    return STATUS_OK;
  entry.key = entry.directory ? STEAL(below) : STEAL(key);
  ARRAY_PUSH(level->items, level->count, entry);
  return STATUS_OK;
}

static int by_key(const void *a, const void *b) {
  return strcmp(((const Entry *)a)->key, ((const Entry *)b)->key);
}

/* path: of the directory, with its '/'; "" for the repository itself. */
static Status read_level(const Listing *listing, DIR *stream, const char *path, Level *level, Error *err) {
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(stream);
    if (!entry && errno != 0) /* a listing that ends early must not look like one that is short */
      return error_set_errno(err, errno, "cannot list %s", *path ? path : "the repository");
    if (!entry)
      break;
    Status status = take_entry(listing, dirfd(stream), entry->d_name, path, level, err);
    if (status)
      return status;
  }
  if (level->count)
    qsort(level->items, level->count, sizeof *level->items, by_key);
  return STATUS_OK;
}

static Status walk(Listing *listing, int parent, const char *name, const char *path, Error *err) {
  CLEANUP(directory_close_stream) DIR *stream = directory_open_stream(parent, name);
  CLEANUP(release) Level level = {0};
  if (!stream)
    return errno == ENOENT ? STATUS_OK : error_set_errno(err, errno, "cannot list %s", *path ? path : "the repository");
  Status status = read_level(listing, stream, path, &level, err);
  for (size_t i = 0; i < level.count && !status && !listing->enough; i++) {
    Entry *entry = &level.items[i];
    if (!entry->directory) {
      listing->enough = !listing->visit(listing->user, entry->key, entry->size);
      continue;
    }
    CLEANUP_FREE char *leaf = memory_strdup(entry->key + strlen(path));
    leaf[strlen(leaf) - 1] = '\0';
    status = walk(listing, dirfd(stream), leaf, entry->key, err);
  }
  return status;
}

Status directory_list_keys(int root, const char *prefix, const char *after, RepositoryVisit *visit, void *user,
                           Error *err) {
  Listing listing = {.prefix = prefix, .after = after, .visit = visit, .user = user};
  return walk(&listing, root, ".", "", err);
}
