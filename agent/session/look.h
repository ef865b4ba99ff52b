/*
 * What guards the repository that an agent stores in, looked at without storing anything: what of the doctor's findings
 * the coordinator has to know, to alert (docs/alerts.md).
 */
#ifndef PGSEAL_AGENT_SESSION_LOOK_H
#define PGSEAL_AGENT_SESSION_LOOK_H

#include "agent/config.h"
#include "common/repository/repository.h"

/* Words for the coordinator. */
typedef struct RepositoryLook {
  char kind[16];    /* "directory", "bucket" */
  char lock[64];    /* "none", "unused" (nothing is locked), "GOVERNANCE 30 days", "unknown" */
  char removes[16]; /* may this agent destroy what is stored? "yes", "no", "unknown" */
  bool away;        /* nobody answered: what is unknown may be known soon */
} RepositoryLook;

/* Blocks, of a bucket for as long as its server takes, some seconds at most. Any thread. What cannot be found out is
 * "unknown". */
void repository_look(const AgentConfig *config, RepositoryLook *out);

/* In which mode an object that is put here is locked, and for how many days; NULL: in none that is known of. */
const char *repository_lock_of(const RepositoryGuards *guards, int *days);

#endif
