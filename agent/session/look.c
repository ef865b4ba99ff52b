#include "agent/session/look.h"

#include <stdio.h>

/* Somebody may wait for it: the agent joins when it is over. */
enum { LOOK_CONNECT_SECONDS = 3, LOOK_TIMEOUT_SECONDS = 5, LOOK_RETRY_SECONDS = 1 };

/* Where a proof would be. Nothing is ever stored there. */
static const char ABSENT[] = "doctor/look/attempt-1/proofs/absent";

const char *repository_lock_of(const RepositoryGuards *guards, int *days) {
  if (guards->mode) {
    *days = guards->days;
    return guards->mode;
  }
  *days = guards->default_days;
  return *guards->default_mode ? guards->default_mode : NULL;
}

static void say(char *out, size_t size, const char *text) {
  snprintf(out, size, "%s", text);
}

static void look_at_lock(const RepositoryGuards *guards, RepositoryLook *out) {
  int days = 0;
  const char *mode = repository_lock_of(guards, &days);
  if (guards->lock == REPOSITORY_NO)
    say(out->lock, sizeof out->lock, "none");
  else if (mode) /* a bucket without a lock refuses what is stored with one: so there it is, also if it may not be seen
                  */
    snprintf(out->lock, sizeof out->lock, "%s %d day%s", mode, days, days == 1 ? "" : "s");
  else
    say(out->lock, sizeof out->lock, guards->lock == REPOSITORY_YES ? "unused" : "unknown");
}

/* Servers say whether a key may before they say whether it is there. Where versions are kept, only who may delete those
 * destroys anything. */
static void look_at_rights(Repository *repository, const RepositoryGuards *guards, RepositoryLook *out) {
  RepositoryRemoval version = {.version = "null"}, object = {.unseen = true};
  Error err;
  Status status = repository_remove_as(repository, ABSENT, &version, &err);
  if (status == ERR_REPOSITORY_REFUSED && guards->versions != REPOSITORY_YES) {
    status = repository_remove_as(repository, ABSENT, &object, &err);
    if (status == STATUS_OK && *object.mark.id) /* it keeps versions after all: this only hid what was not there */
      status = ERR_REPOSITORY_REFUSED;
  }
  say(out->removes, sizeof out->removes,
      status == STATUS_OK || status == ERR_OBJECT_NOT_FOUND ? "yes"
      : status == ERR_REPOSITORY_REFUSED                    ? "no"
                                                            : "unknown");
}

void repository_look(const AgentConfig *config, RepositoryLook *out) {
  AgentConfig hasty = *config;
  Repository *repository = NULL;
  RepositoryGuards guards;
  Error err;
  *out = (RepositoryLook){.kind = "directory", .lock = "none", .removes = "yes"};
  if (config->repository_directory)
    return;
  *out = (RepositoryLook){.kind = "bucket", .lock = "unknown", .removes = "unknown", .away = true};
  hasty.repository_s3.connect_seconds = LOOK_CONNECT_SECONDS;
  hasty.repository_s3.timeout_seconds = LOOK_TIMEOUT_SECONDS;
  hasty.repository_s3.retry_seconds = LOOK_RETRY_SECONDS;
  if (agent_config_repository(&hasty, &repository, &err) != STATUS_OK)
    return;
  if (repository_guards(repository, &guards, &err) == STATUS_OK) {
    look_at_lock(&guards, out);
    look_at_rights(repository, &guards, out);
    out->away = false;
  }
  repository_close(repository);
}
