/*
 * Prune: takes a checkpoint, or a lost attempt of one, out of the repository. The coordinator has marked it durably
 * before, so that nobody is given it any more; here the manifest goes first, so that what is half gone can never look
 * like a checkpoint to who reads the repository alone. Killed at any moment, it is just run again.
 *
 * Every version of every object goes, and what hides them; but nothing outside the prefixes, and nothing that is
 * locked: a lock is never got around. Where a manifest is locked, its prefix is left as it is: whole. Where other
 * objects are, the rest goes, and the report says until when what is left is locked.
 */
#ifndef PGSEAL_AGENT_JOBS_PRUNE_H
#define PGSEAL_AGENT_JOBS_PRUNE_H

#include <jansson.h>

#include "common/repository/repository.h"

typedef struct PruneWatch {
  /* Before every removal: anything but STATUS_OK ends it. removed, total: bytes. */
  Status (*check)(void *user, uint64_t removed, uint64_t total, Error *err);
  void *user;
} PruneWatch;

/* Of this checkpoint alone: "<database>/<checkpoint>/", or "<database>/<checkpoint>/attempt-<n>/". ERR_PROTOCOL. */
Status prune_check_prefix(const char *database, const char *checkpoint_id, const char *prefix, Error *err) MUST_CHECK;

/* Blocking. *report, new reference: {"objects", "bytes": removed now, "kept": how many are locked, "locked": the first
 * of them [{"key", "until"}], "locked_until_us", "whole": a manifest is locked, so all that was here still is}.
 * ERR_REPOSITORY_REFUSED: the key may not. ERR_UNAVAILABLE: something was stored there meanwhile. */
Status prune_run(Repository *repository, const char *const *prefixes, size_t count, const PruneWatch *watch,
                 json_t **report, Error *err) MUST_CHECK;

#endif
