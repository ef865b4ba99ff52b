#include "common/repository/repository.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

enum { KEY_LIMIT = 900, PART_LIMIT = 200 };

struct Repository {
  const RepositoryOps *ops;
  void *backend;
  char *description;
};

Repository *repository_new(const RepositoryOps *ops, void *backend, const char *description) {
  Repository *repository = memory_alloc(sizeof *repository);
  repository->ops = ops;
  repository->backend = backend;
  repository->description = memory_strdup(description);
  return repository;
}

void repository_close(Repository *repository) {
  if (!repository)
    return;
  repository->ops->close(repository->backend);
  free(repository->description);
  free(repository);
}

const char *repository_description(const Repository *repository) {
  return repository->description;
}

bool repository_retries(const Repository *repository) {
  return repository->ops->retries;
}

bool repository_key_valid(const char *key) {
  if (!key || !*key || strlen(key) > KEY_LIMIT)
    return false;
  size_t part = 0;
  for (const char *at = key;; at++) {
    if (*at == '/' || !*at) {
      /* no empty part, and none that starts with a dot: "..", and names the backends keep for themselves */
      if (part == 0 || part > PART_LIMIT || at[-(ptrdiff_t)part] == '.')
        return false;
      if (!*at)
        return true;
      part = 0;
      continue;
    }
    if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *at))
      return false;
    part++;
  }
}

static Status check(const char *key, Error *err) {
  if (repository_key_valid(key))
    return STATUS_OK;
  error_set(err, ERR_INVALID_ARGUMENT, "not a repository key: %s", key ? key : "(none)");
  error_object(err, "%s", key ? key : "");
  return err->status;
}

/* Names the object in an error of the backend's. */
static Status named(Status status, const char *key, Error *err) {
  if (status)
    error_object(err, "%s", key);
  return status;
}

Status repository_put(Repository *repository, const char *key, const void *data, size_t size, Error *err) {
  return repository_put_hashed(repository, key, data, size, NULL, err);
}

static Status put(Repository *repository, const char *key, const void *data, size_t size, const uint8_t *sha256,
                  RepositoryVersion *version, Error *err) {
  Status status = check(key, err);
  if (status)
    return status;
  status = named(repository->ops->put(repository->backend, key, data, size, sha256, version, err), key, err);
  if (status == ERR_DISK_FULL &&
      strcmp(err->remedy, error_default_remedy(status)) == 0) /* the backend says no better */
    error_remedy(err, "Free space in the repository (%s), or give it a larger disk.", repository->description);
  return status;
}

Status repository_put_hashed(Repository *repository, const char *key, const void *data, size_t size,
                             const uint8_t *sha256, Error *err) {
  return put(repository, key, data, size, sha256, NULL, err);
}

Status repository_put_version(Repository *repository, const char *key, const void *data, size_t size,
                              RepositoryVersion *version, Error *err) {
  *version = (RepositoryVersion){0};
  return put(repository, key, data, size, NULL, version, err);
}

static bool note_one(void *user, const char *key, uint64_t size) {
  (void)key;
  (void)size;
  *(bool *)user = true;
  return false;
}

static Status missing(Repository *repository, const char *key, Error *err) {
  bool any = false;
  Error failure;
  if (repository_list(repository, "", note_one, &any, &failure) != STATUS_OK) {
    *err = failure;
    return err->status;
  }
  if (any) {
    error_set(err, ERR_SEGMENT_MISSING, "%s is not in the repository", key);
  } else {
    error_set(err, ERR_UNAVAILABLE, "%s is not there: the repository (%s) holds nothing at all", key,
              repository->description);
    error_remedy(err, "See that the repository is mounted, and the one that the checkpoint was stored in.");
  }
  return named(err->status, key, err);
}

Status repository_get_stored(Repository *repository, const char *key, size_t limit, Buffer *out, Error *err) {
  Status status = repository_get(repository, key, limit, out, err);
  return status == ERR_OBJECT_NOT_FOUND ? missing(repository, key, err) : status;
}

Status repository_get(Repository *repository, const char *key, size_t limit, Buffer *out, Error *err) {
  Status status = check(key, err);
  return status ? status : named(repository->ops->get(repository->backend, key, limit, out, err), key, err);
}

/* What can be continued to a valid key; "" is the beginning of them all. */
static bool prefix_valid(const char *prefix) {
  char longer[KEY_LIMIT + 2];
  size_t length = strlen(prefix);
  if (length >= KEY_LIMIT)
    return repository_key_valid(prefix);
  memcpy(longer, prefix, length);
  memcpy(longer + length, "x", 2);
  return repository_key_valid(longer) || repository_key_valid(prefix);
}

Status repository_list(Repository *repository, const char *prefix, RepositoryVisit *visit, void *user, Error *err) {
  return repository_list_after(repository, prefix, NULL, visit, user, err);
}

Status repository_list_after(Repository *repository, const char *prefix, const char *after, RepositoryVisit *visit,
                             void *user, Error *err) {
  const char *wrong = !prefix_valid(prefix)                                  ? prefix
                      : after && strncmp(after, prefix, strlen(prefix)) != 0 ? after
                                                                             : NULL;
  if (wrong) {
    error_set(err, ERR_INVALID_ARGUMENT, "no repository key starts with %s", wrong);
    error_object(err, "%s", wrong);
    return err->status;
  }
  return repository->ops->list(repository->backend, prefix, after, visit, user, err);
}

Status repository_remove(Repository *repository, const char *key, Error *err) {
  return repository_remove_as(repository, key, NULL, err);
}

Status repository_remove_as(Repository *repository, const char *key, RepositoryRemoval *removal, Error *err) {
  Status status = check(key, err);
  return status ? status : named(repository->ops->remove(repository->backend, key, removal, err), key, err);
}

typedef struct Plain {
  RepositoryEntryVisit *visit;
  void *user;
} Plain;

static bool visit_plain(void *user, const char *key, uint64_t size) {
  const Plain *plain = user;
  const RepositoryEntry entry = {.key = key, .size = size};
  return plain->visit(plain->user, &entry);
}

Status repository_entries(Repository *repository, const char *prefix, RepositoryEntryVisit *visit, void *user,
                          Error *err) {
  Plain plain = {visit, user};
  if (!repository->ops->entries || !prefix_valid(prefix))
    return repository_list(repository, prefix, visit_plain, &plain, err);
  return repository->ops->entries(repository->backend, prefix, visit, user, err);
}

Status repository_locked(Repository *repository, const char *key, const char *version, int64_t *until_us, Error *err) {
  *until_us = 0;
  Status status = check(key, err);
  if (status || !repository->ops->locked)
    return status;
  return named(repository->ops->locked(repository->backend, key, version, until_us, err), key, err);
}

Status repository_guards(Repository *repository, RepositoryGuards *guards, Error *err) {
  *guards = (RepositoryGuards){0};
  return repository->ops->guards ? repository->ops->guards(repository->backend, guards, err) : STATUS_OK;
}
