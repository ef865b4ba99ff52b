/*
 * Engine: where disposable PostgreSQL clusters come from: `docker` (the Docker API over its UNIX socket, one
 * container per drill) or `local` (initdb and postgres in a private directory). One function table.
 *
 * A Cluster lives in `scratch` (job's private directory): PGDATA, and the socket directory the agent connects
 * through. No network. Settings are those of a cluster nobody will miss. Blocking; one thread at a time. The local
 * engine's postgres ends with the thread that started the cluster.
 */
#ifndef PGSEAL_AGENT_ENGINE_ENGINE_H
#define PGSEAL_AGENT_ENGINE_ENGINE_H

#include "agent/config.h"

typedef struct Engine Engine;
typedef struct Cluster Cluster;

typedef struct ClusterOptions {
  int major;
  const char *image;          /* that is asked for; NULL or "": the configured one for that major version */
  const char *superuser;      /* bootstrap role's name, as in the source cluster; any name PostgreSQL allows */
  const char *job_id, *agent; /* labels pgseal.job, pgseal.agent (agent_config_owner) */
  const char *scratch;
  const PostgresBinDir *bin_dirs; /* for the local engine */
  size_t bin_dir_count;
  Status (*check)(void *user, Error *err); /* asked while waiting; other than STATUS_OK gives up. May be NULL */
  void *user;
} ClusterOptions;

typedef struct EngineOps {
  const char *name; /* "docker", "local" */
  Status (*start)(void *backend, const ClusterOptions *options, void **cluster, Error *err);
  /* ERR_CLUSTER_LOST with the reason (OOM, exit code, last log lines) */
  Status (*alive)(void *backend, void *cluster, Error *err);
  /* *err says that the cluster's disk is full: gives it the code and the remedy for where that disk is */
  Status (*disk_full)(void *backend, void *cluster, Error *err);
  const char *(*socket_dir)(void *cluster); /* on the host; owned by the cluster */
  const char *(*image)(void *cluster);
  char *(*place)(void *backend, const char *scratch); /* as engine_place */
  void (*stop)(void *backend, void *cluster);         /* kills and removes all of it, data included */
  Status (*reap)(void *backend, const char *agent, const char *job_id, int *count, Error *err);
  void (*close)(void *backend);
} EngineOps;

/* Picks the engine by config (auto: docker if the socket answers). ERR_ENGINE_UNAVAILABLE with the remedy.
 * `config` must outlive the engine. */
Status engine_open(const DrillConfig *config, Engine **out, Error *err) MUST_CHECK;
void engine_close(Engine *engine);
const char *engine_name(const Engine *engine);

/* A path on the file system that clusters of such a scratch directory have their data on; freed by the caller. NULL: it
 * is none of this machine's that can be looked at, or it is memory. Asks a container engine: may take seconds. */
char *engine_place(const Engine *engine, const char *scratch);

/* Starts a cluster and waits until it accepts connections. ERR_IMAGE_MISSING, ERR_CLUSTER_START, ... */
Status cluster_start(Engine *engine, const ClusterOptions *options, Cluster **out, Error *err) MUST_CHECK;
const char *cluster_socket_dir(const Cluster *cluster); /* host path, for libpq's host= */
const char *cluster_superuser(const Cluster *cluster);
const char *cluster_image(const Cluster *cluster); /* image name and id, or the local bin directory */
/* ERR_CLUSTER_LOST with the reason; if that was its disk, as cluster_disk_full. */
Status cluster_alive(Cluster *cluster, Error *err) MUST_CHECK;
/* *err says that the cluster's disk is full. Makes it ERR_DISK_FULL, or ERR_BUDGET_EXCEEDED where the configuration
 * bounds that disk, with the remedy; returns that. */
Status cluster_disk_full(Cluster *cluster, Error *err) MUST_CHECK;
void cluster_stop(Cluster *cluster); /* NULL is fine */

/* Removes every container of this agent (agent_config_owner; job_id NULL), or of one job: whatever a killed child left.
 * *count: how many.
 */
Status engine_reap(Engine *engine, const char *agent, const char *job_id, int *count, Error *err) MUST_CHECK;

#endif
