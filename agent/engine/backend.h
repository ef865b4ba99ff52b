/* What the engines share; private to agent/engine. */
#ifndef PGSEAL_AGENT_ENGINE_BACKEND_H
#define PGSEAL_AGENT_ENGINE_BACKEND_H

#include <sys/types.h>

#include "agent/engine/engine.h"
#include "common/base/buffer.h"

/* initdb cannot take every name PostgreSQL allows, so it gets this one, which cluster_start renames. */
#define ENGINE_INITIAL_ROLE "pgseal_bootstrap"
/* as initdb and postgres say it in the C locale */
#define ENGINE_DISK_FULL "No space left on device"

enum { ENGINE_START_SECONDS = 180, ENGINE_LOG_TAIL = 1200, ENGINE_TICK_MS = 50 };

/* Fills *backend. ERR_ENGINE_UNAVAILABLE if nothing answers at the socket. */
Status docker_engine_open(const DrillConfig *config, const EngineOps **ops, void **backend, Error *err) MUST_CHECK;
Status local_engine_open(const DrillConfig *config, const EngineOps **ops, void **backend, Error *err) MUST_CHECK;
/* Whatever local clusters and links a killed job left. */
Status local_engine_reap(const char *agent, const char *job_id, int *count, Error *err) MUST_CHECK;

/* settings.c: "name=value" strings for `postgres -c`, NULL-terminated; freed by settings_free. Pure. */
char **settings_list(const DrillConfig *config, const char *socket_dir);
void settings_free(char **settings);
int settings_memory_mb(const DrillConfig *config);
int settings_jobs(const DrillConfig *config);

/* lost.c: the last lines of a server log, on one line, as valid UTF-8. */
void engine_log_tail(const char *log, size_t size, char out[ENGINE_LOG_TAIL]);
/* ERR_CLUSTER_LOST: how it ended, with the log's tail; names the memory limit where that is the likely cause. */
Status engine_lost(Error *err, const char *what, bool out_of_memory, const char *log, size_t size) MUST_CHECK;

/*
 * registry.c: what may be left behind by a killed job child, noted in a private directory of this user under /tmp:
 * short links to socket directories (a UNIX socket's path has room for 107 bytes only), and local clusters.
 */
typedef struct RegistryNote {
  char *job_id, *agent;
  char *directory; /* of the cluster; removed by reap if outside the job's scratch */
  pid_t pid;       /* postmaster; 0 if not started yet */
  int64_t start;   /* its start time, in ticks since boot: pids are used again */
} RegistryNote;

Status registry_link(const char *job_id, const char *target, char **path, Error *err) MUST_CHECK;
Status registry_write(const RegistryNote *note, Error *err) MUST_CHECK;
void registry_remove(const char *job_id); /* note and link; absent is fine */
/* Calls visit for every note of this agent (and job, unless NULL), then removes the note and its link. */
Status registry_reap(const char *agent, const char *job_id, void (*visit)(void *user, const RegistryNote *note),
                     void *user, Error *err) MUST_CHECK;
int64_t registry_start_time(pid_t pid); /* -1 if there is no such process */

#endif
