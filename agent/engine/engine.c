#include "agent/engine/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/engine/backend.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { CLUSTER_ROLE_LIMIT = 63 };

struct Engine {
  const EngineOps *ops;
  void *backend;
};

struct Cluster {
  Engine *engine;
  void *backend; /* the backend's own */
  char *superuser, *job_id;
  char *short_dir; /* a link to the socket directory where its own path is too long; or NULL */
};

Status engine_open(const DrillConfig *config, Engine **out, Error *err) {
  const EngineOps *ops = NULL;
  void *backend = NULL;
  Status status = STATUS_OK;
  if (config->engine != DRILL_ENGINE_LOCAL)
    status = docker_engine_open(config, &ops, &backend, err);
  if (config->engine == DRILL_ENGINE_LOCAL || (config->engine == DRILL_ENGINE_AUTO && status == ERR_ENGINE_UNAVAILABLE))
    status = local_engine_open(config, &ops, &backend, err);
  if (status != STATUS_OK)
    return status;
  Engine *engine = memory_alloc(sizeof *engine);
  *engine = (Engine){.ops = ops, .backend = backend};
  *out = engine;
  return STATUS_OK;
}

void engine_close(Engine *engine) {
  if (!engine)
    return;
  engine->ops->close(engine->backend);
  free(engine);
}

const char *engine_name(const Engine *engine) {
  return engine->ops->name;
}

char *engine_place(const Engine *engine, const char *scratch) {
  return engine->ops->place(engine->backend, scratch);
}

Status engine_reap(Engine *engine, const char *agent, const char *job_id, int *count, Error *err) {
  return engine->ops->reap(engine->backend, agent, job_id, count, err);
}

const char *cluster_socket_dir(const Cluster *cluster) {
  return cluster->short_dir ? cluster->short_dir : cluster->engine->ops->socket_dir(cluster->backend);
}

const char *cluster_superuser(const Cluster *cluster) {
  return cluster->superuser;
}

const char *cluster_image(const Cluster *cluster) {
  return cluster->engine->ops->image(cluster->backend);
}

Status cluster_disk_full(Cluster *cluster, Error *err) {
  return cluster->engine->ops->disk_full(cluster->engine->backend, cluster->backend, err);
}

Status cluster_alive(Cluster *cluster, Error *err) {
  Status status = cluster->engine->ops->alive(cluster->engine->backend, cluster->backend, err);
  if (status == ERR_CLUSTER_LOST && !*err->object)
    error_object(err, "%s", cluster_image(cluster));
  if (status == ERR_CLUSTER_LOST && strstr(err->message, ENGINE_DISK_FULL))
    return cluster_disk_full(cluster, err);
  return status;
}

void cluster_stop(Cluster *cluster) {
  if (!cluster)
    return;
  cluster->engine->ops->stop(cluster->engine->backend, cluster->backend);
  if (cluster->short_dir)
    (void)unlink(cluster->short_dir);
  free(cluster->short_dir);
  free(cluster->superuser);
  free(cluster->job_id);
  free(cluster);
}

static void cluster_stop_pointer(Cluster **cluster) {
  cluster_stop(*cluster);
}

static Status cluster_connect(const Cluster *cluster, const char *role, PGconn **out, Error *err) {
  Conninfo *conninfo = NULL;
  Status status = conninfo_parse("dbname=postgres", &conninfo, err);
  if (status != STATUS_OK)
    return status;
  conninfo_set(conninfo, "host", cluster_socket_dir(cluster));
  conninfo_set(conninfo, "port", "5432");
  conninfo_set(conninfo, "user", role);
  conninfo_set(conninfo, "client_encoding", "UTF8");
  status = postgres_connect(conninfo, "pgseal drill", out, err);
  conninfo_free(conninfo);
  return status;
}

static Status cluster_wait_ready(Cluster *cluster, const ClusterOptions *options, PGconn **out, Error *err) {
  int64_t deadline = clock_monotonic_us() + (int64_t)ENGINE_START_SECONDS * 1000000;
  for (;;) {
    Error refused;
    if (cluster_connect(cluster, ENGINE_INITIAL_ROLE, out, &refused) == STATUS_OK)
      return STATUS_OK;
    Status status = options->check ? options->check(options->user, err) : STATUS_OK;
    if (status == STATUS_OK && (status = cluster_alive(cluster, err)) == ERR_CLUSTER_LOST) {
      /* it never lived */
      err->status = status = ERR_CLUSTER_START;
      if (strcmp(err->remedy, error_default_remedy(ERR_CLUSTER_LOST)) == 0)
        error_remedy(err, "%s", error_default_remedy(ERR_CLUSTER_START));
    }
    if (status != STATUS_OK)
      return status;
    if (clock_monotonic_us() > deadline)
      return error_set(err, ERR_CLUSTER_START, "the disposable PostgreSQL accepts no connection after %d seconds: %s",
                       ENGINE_START_SECONDS, refused.message);
    usleep(ENGINE_TICK_MS * 1000);
  }
}

static Status cluster_rename(PGconn *session, const char *name, Error *err) {
  char *quoted = PQescapeIdentifier(session, name, strlen(name));
  if (!quoted)
    return error_set(err, ERR_CLUSTER_START, "the bootstrap role's name is not valid UTF-8");
  CLEANUP_FREE char *sql = memory_format("ALTER ROLE " ENGINE_INITIAL_ROLE " RENAME TO %s", quoted);
  PQfreemem(quoted);
  return postgres_query(session, NULL, err, sql);
}

/*
 * Gives the bootstrap role the name it has in the source, so that what belongs to it there belongs to it here. A role
 * cannot rename itself while it is in session, hence the helper, which is gone afterwards.
 */
static Status cluster_rename_superuser(Cluster *cluster, PGconn *initial, Error *err) {
  CLEANUP_FREE char *helper = memory_format("pgseal_%s", id_new().text);
  CLEANUP_FREE char *create = memory_format("CREATE ROLE %s SUPERUSER LOGIN", helper);
  CLEANUP_FREE char *drop = memory_format("DROP ROLE %s", helper);
  CLEANUP(postgres_close) PGconn *session = NULL;
  if (strcmp(cluster->superuser, ENGINE_INITIAL_ROLE) == 0)
    return STATUS_OK;
  Status status = postgres_query(initial, NULL, err, create);
  if (status == STATUS_OK)
    status = cluster_connect(cluster, helper, &session, err);
  if (status == STATUS_OK)
    status = cluster_rename(session, cluster->superuser, err);
  if (status == STATUS_OK)
    status = postgres_query(initial, NULL, err, drop);
  if (status != STATUS_OK)
    error_prefix(err, "naming the bootstrap role %s", cluster->superuser);
  return status;
}

static Status cluster_options_check(const ClusterOptions *options, Error *err) {
  size_t length = strlen(options->superuser);
  if (length == 0 || length > CLUSTER_ROLE_LIMIT)
    return error_set(err, ERR_INVALID_ARGUMENT, "the bootstrap role's name has %zu bytes, PostgreSQL allows 1 to 63",
                     length);
  if (!text_name_valid(options->job_id) || *options->scratch != '/')
    return error_set(err, ERR_INTERNAL, "a cluster needs a job's id and an absolute scratch directory");
  return STATUS_OK;
}

/* libpq and the server take socket paths of up to 107 bytes. */
static Status cluster_shorten(Cluster *cluster, Error *err) {
  static const char socket_name[] = "/.s.PGSQL.5432";
  const char *dir = cluster->engine->ops->socket_dir(cluster->backend);
  if (strlen(dir) + strlen(socket_name) < sizeof((struct sockaddr_un *)0)->sun_path)
    return STATUS_OK;
  return registry_link(cluster->job_id, dir, &cluster->short_dir, err);
}

Status cluster_start(Engine *engine, const ClusterOptions *options, Cluster **out, Error *err) {
  void *backend = NULL;
  Status status = cluster_options_check(options, err);
  if (status == STATUS_OK)
    status = engine->ops->start(engine->backend, options, &backend, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(cluster_stop_pointer) Cluster *cluster = memory_alloc(sizeof *cluster);
  *cluster = (Cluster){.engine = engine,
                       .backend = backend,
                       .superuser = memory_strdup(options->superuser),
                       .job_id = memory_strdup(options->job_id)};
  CLEANUP(postgres_close) PGconn *initial = NULL;
  status = cluster_shorten(cluster, err);
  if (status == STATUS_OK)
    status = cluster_wait_ready(cluster, options, &initial, err);
  if (status == STATUS_OK)
    status = cluster_rename_superuser(cluster, initial, err);
  if (status != STATUS_OK)
    return status;
  *out = STEAL(cluster);
  return STATUS_OK;
}
