/* What the kinds of jobs are called, in the agent and in its job children. Any thread. */
#ifndef PGSEAL_AGENT_JOBS_KIND_H
#define PGSEAL_AGENT_JOBS_KIND_H

#include "proto/pgseal.pb-c.h"

/* "dump", "drill", "plan", "restore", "prune", "rehearse", "inventory", "trial"; "job" of what is not known */
const char *job_kind_name(Pgseal__JobKind kind);

#endif
