/*
 * Spool: results that the coordinator has not acknowledged yet, one file each under <data>/spool, so that they survive
 * the agent. A file holds a packed pgseal.Result. put and remove may be called from any thread; list at the start only.
 */
#ifndef PGSEAL_AGENT_SUPERVISOR_SPOOL_H
#define PGSEAL_AGENT_SUPERVISOR_SPOOL_H

#include "common/base/error.h"
#include "proto/pgseal.pb-c.h"

Status spool_put(const char *data_dir, const Pgseal__Result *result,
                 Error *err) MUST_CHECK; /* durable when it returns */
void spool_remove(const char *data_dir, const Pgseal__Result *result);
/* Calls visit for every result found, which takes it (pgseal__result__free_unpacked). Unreadable files are logged and
 * left. */
Status spool_list(const char *data_dir, void (*visit)(void *user, Pgseal__Result *result), void *user,
                  Error *err) MUST_CHECK;

#endif
