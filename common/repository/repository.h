/*
 * Repository: where segments, manifests and proofs live, behind a function table: a directory, or an S3 bucket
 * (s3/s3.h).
 *
 * Keys are relative paths of [A-Za-z0-9._-] parts joined by '/'; nothing else is accepted (no "..").
 * Objects are whole or absent: a put that fails or dies leaves nothing visible. Nothing is ever overwritten.
 * All calls block, may be made from several threads at once on one Repository, and name the key in errors.
 */
#ifndef PGSEAL_COMMON_REPOSITORY_REPOSITORY_H
#define PGSEAL_COMMON_REPOSITORY_REPOSITORY_H

#include "common/base/buffer.h"

typedef struct Repository Repository;

/* Return false to stop the listing (which then succeeds). */
typedef bool RepositoryVisit(void *user, const char *key, uint64_t size);

/* Where older versions of objects are kept, each has a name. */
typedef struct RepositoryVersion {
  char id[512]; /* "": nothing is kept here */
} RepositoryVersion;

/* One version of an object, or (a mark) what hides one. */
typedef struct RepositoryEntry {
  const char *key, *version; /* version NULL: none are kept here */
  uint64_t size;
  bool mark;
} RepositoryEntry;
typedef bool RepositoryEntryVisit(void *user, const RepositoryEntry *entry); /* false stops, which then succeeds */

typedef struct RepositoryRemoval {
  const char *version;    /* that very version, for good; NULL: the object as it is seen, of which a version may stay */
  bool bypass;            /* of a version: also if it is locked, where the key may get around the lock */
  bool unseen;            /* asks the server without looking first whether it is there: only what the key may, counts */
  RepositoryVersion mark; /* out: what hides the object now, if that is how it was removed */
} RepositoryRemoval;

typedef enum RepositoryAnswer {
  REPOSITORY_NO,
  REPOSITORY_YES,
  REPOSITORY_FORBIDDEN, /* this key may not ask */
  REPOSITORY_UNKNOWN    /* the server does not know the question */
} RepositoryAnswer;

/* What guards the objects besides what a key may do, as the server says. */
typedef struct RepositoryGuards {
  RepositoryAnswer versions; /* does it keep them? */
  RepositoryAnswer lock;     /* can objects be locked? */
  const char *mode;          /* in which puts here lock what they store, */
  int days;                  /* and for how long; mode NULL: they do not */
  char default_mode[32];     /* in which the server locks what comes without; "": it does not */
  int default_days;
  int64_t here_us, there_us; /* what time it is, here and at the server; 0: it did not say */
} RepositoryGuards;

typedef struct RepositoryOps { /* what a backend implements */
  /* sha256 of the data, or NULL if nobody has it yet; version and removal may be NULL */
  Status (*put)(void *backend, const char *key, const void *data, size_t size, const uint8_t *sha256,
                RepositoryVersion *version, Error *err);
  Status (*get)(void *backend, const char *key, size_t limit, Buffer *out, Error *err);
  /* after: or NULL */
  Status (*list)(void *backend, const char *prefix, const char *after, RepositoryVisit *visit, void *user, Error *err);
  Status (*remove)(void *backend, const char *key, RepositoryRemoval *removal, Error *err);
  Status (*guards)(void *backend, RepositoryGuards *guards, Error *err); /* NULL: there are none */
  /* NULL, both: no versions are kept, and nothing is locked */
  Status (*entries)(void *backend, const char *prefix, RepositoryEntryVisit *visit, void *user, Error *err);
  Status (*locked)(void *backend, const char *key, const char *version, int64_t *until_us, Error *err);
  void (*close)(void *backend);
  bool retries; /* it tries again by itself what may pass, for as long as that makes sense */
} RepositoryOps;

Repository *repository_new(const RepositoryOps *ops, void *backend, const char *description); /* owns backend */
void repository_close(Repository *repository);
const char *repository_description(const Repository *repository); /* e.g. "directory /srv/pgseal"; no secrets */

bool repository_retries(const Repository *repository); /* then trying again what failed makes no sense */

/* Durable when it returns. ERR_OBJECT_EXISTS if the key exists, whatever it holds. */
Status repository_put(Repository *repository, const char *key, const void *data, size_t size, Error *err) MUST_CHECK;
/* The same where the SHA-256 of the data (SHA256_SIZE bytes) is at hand; a backend that sends it need not hash again.
 */
Status repository_put_hashed(Repository *repository, const char *key, const void *data, size_t size,
                             const uint8_t *sha256, Error *err) MUST_CHECK;
/* Replaces *out. ERR_OBJECT_NOT_FOUND; ERR_SEGMENT_CORRUPT if larger than limit bytes. */
Status repository_get(Repository *repository, const char *key, size_t limit, Buffer *out, Error *err) MUST_CHECK;
/* The same for an object that was stored: absent is ERR_SEGMENT_MISSING, or ERR_UNAVAILABLE where the repository holds
 * nothing at all, which condemns no checkpoint: it is another one than it was stored in, or is not mounted. */
Status repository_get_stored(Repository *repository, const char *key, size_t limit, Buffer *out, Error *err) MUST_CHECK;
/* All keys that start with prefix ("" for all, else a key or the beginning of one), in byte order.
 * ERR_INVALID_ARGUMENT if no key can start like that. */
Status repository_list(Repository *repository, const char *prefix, RepositoryVisit *visit, void *user,
                       Error *err) MUST_CHECK;
/* The same, but only those behind `after`: a text that starts with the prefix, be it a key or not. What is before costs
 * little. */
Status repository_list_after(Repository *repository, const char *prefix, const char *after, RepositoryVisit *visit,
                             void *user, Error *err) MUST_CHECK;
Status repository_remove(Repository *repository, const char *key,
                         Error *err) MUST_CHECK; /* absent is ERR_OBJECT_NOT_FOUND */
bool repository_key_valid(const char *key);

/* For who looks after the repository, and who tries out what a key may do. */
Status repository_put_version(Repository *repository, const char *key, const void *data, size_t size,
                              RepositoryVersion *version, Error *err) MUST_CHECK;
Status repository_remove_as(Repository *repository, const char *key, RepositoryRemoval *removal, Error *err) MUST_CHECK;
/* As repository_list, but every version of every object, and the marks; of one key, the newest first. */
Status repository_entries(Repository *repository, const char *prefix, RepositoryEntryVisit *visit, void *user,
                          Error *err) MUST_CHECK;
/* Until when nobody without special rights can remove that version: wall clock; 0: it is not locked; INT64_MAX: a legal
 * hold, until somebody lifts it. */
Status repository_locked(Repository *repository, const char *key, const char *version, int64_t *until_us,
                         Error *err) MUST_CHECK;
/* What a key may not ask is no error, but an answer. guards->mode lives as long as the repository. */
Status repository_guards(Repository *repository, RepositoryGuards *guards, Error *err) MUST_CHECK;

/* Backend: directory. Created if absent (0700), files are 0600. fsync of file and directories before a put returns.
 * One file system, below which no symbolic link is followed. Temporary files that a killed put left are removed when a
 * repository is opened a day later. ERR_DISK_FULL where the file system or a quota is full. */
Status directory_repository_open(const char *path, Repository **out, Error *err) MUST_CHECK;

#endif
