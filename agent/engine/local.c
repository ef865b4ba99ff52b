/* The local engine: initdb and postgres as children of this process, in the job's scratch directory. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine/backend.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/process.h"

enum { LOCAL_STOP_SECONDS = 15, LOCAL_OUTPUT_LIMIT = 1 << 20, LOCAL_ARGUMENTS_MAX = 128, LOCAL_LOG_LIMIT = 256 << 20 };

typedef struct LocalEngine {
  const DrillConfig *config;
} LocalEngine;

typedef struct LocalCluster {
  char *base; /* holds all of it: data/, socket/, log */
  char *data, *socket_dir, *log, *image, *bin_dir, *job_id;
  const char *user; /* whom the server runs as, or NULL for ourselves; the config's */
  uid_t uid;
  gid_t gid;
  Process server;
  bool started, ended;
  int exit_code;
} LocalCluster;

static const char *const local_environment[] = {"LC_ALL=C",   "PGDATA",    "PGHOST", "PGPORT", "PGUSER",
                                                "PGDATABASE", "PGOPTIONS", "TZ=UTC", NULL};

static Status local_find_user(LocalEngine *engine, LocalCluster *cluster, Error *err) {
  cluster->uid = geteuid();
  cluster->gid = getegid();
  if (cluster->uid != 0)
    return STATUS_OK; /* PostgreSQL refuses to run as root only */
  cluster->user = engine->config->local_user ? engine->config->local_user : "postgres";
  char space[16384];
  struct passwd entry, *found = NULL;
  (void)getpwnam_r(cluster->user, &entry, space, sizeof space, &found);
  if (!found || found->pw_uid == 0) {
    error_set(err, ERR_CONFIG, "PostgreSQL does not run as root, and there is no ordinary system user %s",
              cluster->user);
    error_remedy(err, "Run the agent as an ordinary user, or name an existing user in `drill.local_user`.");
    error_object(err, "drill.local_user");
    return err->status;
  }
  cluster->uid = found->pw_uid;
  cluster->gid = found->pw_gid;
  return STATUS_OK;
}

/* May anybody pass through every directory above (and including) path? */
static bool local_passable(const char *path) {
  CLEANUP_FREE char *part = memory_strdup(path);
  for (;;) {
    struct stat info;
    if (stat(*part ? part : "/", &info) != 0 || !(info.st_mode & S_IXOTH))
      return false;
    char *slash = strrchr(part, '/');
    if (!slash)
      return true;
    *slash = '\0';
  }
}

#define LOCAL_ELSEWHERE "/var/tmp"

/* Its parents decide where a cluster goes, if root is not to run it: see local_make_dirs. */
static char *local_place(void *backend, const char *scratch) {
  (void)backend;
  CLEANUP_FREE char *parent = memory_strdup(scratch);
  char *slash = strrchr(parent, '/');
  if (slash)
    *slash = '\0';
  bool elsewhere = geteuid() == 0 && (!slash || !local_passable(parent));
  return memory_strdup(elsewhere ? LOCAL_ELSEWHERE : scratch);
}

static Status local_make_dir(const LocalCluster *cluster, const char *path, mode_t mode, Error *err) {
  if (mkdir(path, mode) != 0)
    return error_set_errno(err, errno, "cannot make %s", path);
  if (cluster->user && chown(path, cluster->uid, cluster->gid) != 0)
    return error_set_errno(err, errno, "cannot give %s to %s", path, cluster->user);
  return STATUS_OK;
}

/*
 * Scratch is closed to other users. Where the server is one of them, the cluster lives in scratch only if it can be
 * opened to passing through (what is in it stays closed by its own modes), else in a private directory beside /tmp.
 */
static Status local_make_dirs(LocalCluster *cluster, const ClusterOptions *options, Error *err) {
  if (cluster->user)
    (void)chmod(options->scratch, 0711);
  if (!cluster->user || local_passable(options->scratch))
    cluster->base = memory_format("%s/cluster", options->scratch);
  else
    cluster->base = memory_format(LOCAL_ELSEWHERE "/pgseal-%s", options->job_id);
  cluster->data = memory_format("%s/data", cluster->base);
  cluster->socket_dir = memory_format("%s/socket", cluster->base);
  cluster->log = memory_format("%s/log", cluster->base);
  RegistryNote note = {.job_id = cluster->job_id, .agent = (char *)options->agent, .directory = cluster->base};
  Status status = registry_write(&note, err);
  if (status == STATUS_OK)
    status = file_remove_tree(cluster->base, err); /* of an attempt that was killed */
  if (status == STATUS_OK)
    status = local_make_dir(cluster, cluster->base, 0700, err);
  if (status == STATUS_OK)
    status = local_make_dir(cluster, cluster->socket_dir, 0700, err);
  return status;
}

static Status local_find_tools(LocalCluster *cluster, const ClusterOptions *options, Error *err) {
  CLEANUP_FREE char *version = NULL;
  Status status =
      postgres_tools_find(options->bin_dirs, options->bin_dir_count, options->major, &cluster->bin_dir, &version, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *initdb = memory_format("%s/initdb", cluster->bin_dir);
  CLEANUP_FREE char *server = memory_format("%s/postgres", cluster->bin_dir);
  if (access(initdb, X_OK) != 0 || access(server, X_OK) != 0) {
    error_set(err, ERR_TOOLS_MISSING, "%s has no initdb and postgres, which the local drill engine needs",
              cluster->bin_dir);
    error_remedy(err, "Install the server package of PostgreSQL %d, or use `engine: docker`.", options->major);
    error_object(err, "PostgreSQL %d", options->major);
    return err->status;
  }
  cluster->image = memory_format("%s (%s)", cluster->bin_dir, version);
  return STATUS_OK;
}

static Status local_disk_full(void *backend, void *opaque, Error *err) {
  (void)backend;
  const LocalCluster *cluster = opaque;
  err->status = ERR_DISK_FULL;
  error_object(err, "%s", cluster->base);
  error_remedy(err, "Free space on the disk of %s, where the disposable cluster lived, and drill again.",
               cluster->base);
  return err->status;
}

static Status local_initdb(LocalCluster *cluster, Error *err) {
  CLEANUP_FREE char *file = memory_format("%s/initdb", cluster->bin_dir);
  const char *argv[] = {file,        "-D",         cluster->data,     "-U", ENGINE_INITIAL_ROLE, "--auth=trust",
                        "--no-sync", "--locale=C", "--encoding=UTF8", NULL};
  ProcessOptions options = {.argv = argv, .env = local_environment, .user = cluster->user, .work_dir = cluster->base};
  CLEANUP(buffer_release) Buffer out = {0};
  if (process_run(&options, LOCAL_OUTPUT_LIMIT, &out, err) == STATUS_OK)
    return STATUS_OK;
  if (err->status == ERR_TOOL && strstr(err->message, ENGINE_DISK_FULL))
    (void)local_disk_full(NULL, cluster, err);
  else if (err->status == ERR_TOOL)
    err->status = ERR_CLUSTER_START;
  return error_prefix(err, "making a disposable cluster");
}

static Status local_postgres(LocalEngine *engine, LocalCluster *cluster, const ClusterOptions *options, Error *err) {
  CLEANUP_FREE char *file = memory_format("%s/postgres", cluster->bin_dir);
  /* relative to PGDATA, so that the path is short whatever scratch is called */
  char **settings = settings_list(engine->config, "../socket");
  const char *argv[LOCAL_ARGUMENTS_MAX] = {file, "-D", cluster->data};
  size_t count = 3;
  for (char **s = settings; *s && count + 3 < LOCAL_ARGUMENTS_MAX; s++) {
    argv[count++] = "-c";
    argv[count++] = *s;
  }
  ProcessOptions process = {.argv = argv,
                            .env = local_environment,
                            .user = cluster->user,
                            .work_dir = cluster->base,
                            .log_path = cluster->log,
                            .own_group = true,
                            .death_signal = SIGQUIT}; /* it ends its own children then, at once */
  Status status = process_start(&process, &cluster->server, err);
  settings_free(settings);
  if (status != STATUS_OK)
    return status;
  cluster->started = true;
  RegistryNote note = {.job_id = cluster->job_id,
                       .agent = (char *)options->agent,
                       .directory = cluster->base,
                       .pid = cluster->server.pid,
                       .start = registry_start_time(cluster->server.pid)};
  return registry_write(&note, err);
}

static Status local_alive(void *backend, void *opaque, Error *err) {
  (void)backend;
  LocalCluster *cluster = opaque;
  if (!cluster->ended) {
    Status status = process_poll(&cluster->server, &cluster->ended, &cluster->exit_code, err);
    if (status != STATUS_OK || !cluster->ended)
      return status;
  }
  Error unread;
  CLEANUP(buffer_release) Buffer log = {0};
  if (file_read(cluster->log, LOCAL_LOG_LIMIT, &log, &unread) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "cannot read the disposable cluster's log", &unread);
  CLEANUP_FREE char *what = memory_format("ended (exit code %d)", cluster->exit_code);
  return engine_lost(err, what, false, (const char *)log.data, log.size);
}

static void local_stop_server(LocalCluster *cluster) {
  Error failed;
  int64_t deadline = clock_monotonic_us() + (int64_t)LOCAL_STOP_SECONDS * 1000000;
  (void)kill(cluster->server.pid, SIGQUIT);
  while (!cluster->ended && clock_monotonic_us() < deadline) {
    if (process_poll(&cluster->server, &cluster->ended, &cluster->exit_code, &failed) != STATUS_OK)
      break;
    if (!cluster->ended)
      usleep(ENGINE_TICK_MS * 1000 / 5);
  }
}

static void local_stop(void *backend, void *opaque) {
  (void)backend;
  LocalCluster *cluster = opaque;
  Error failed;
  if (cluster->started && !cluster->ended)
    local_stop_server(cluster);
  process_release(&cluster->server);
  if (cluster->base && file_remove_tree(cluster->base, &failed) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "a disposable cluster's directory is left behind", &failed);
  registry_remove(cluster->job_id);
  char *owned[] = {cluster->base,  cluster->data,    cluster->socket_dir, cluster->log,
                   cluster->image, cluster->bin_dir, cluster->job_id};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    free(owned[i]);
  free(cluster);
}

static Status local_start(void *backend, const ClusterOptions *options, void **out, Error *err) {
  LocalEngine *engine = backend;
  if (options->image && *options->image) {
    error_set(err, ERR_CONFIG, "drills are asked for in an image, and this agent's engine is `local`");
    error_remedy(err,
                 "Name an engine that has images in its agent.yaml, or take `drill.image` from the fleet's policy.");
    return err->status;
  }
  LocalCluster *cluster = memory_alloc(sizeof *cluster);
  cluster->job_id = memory_strdup(options->job_id);
  Status status = local_find_user(engine, cluster, err);
  if (status == STATUS_OK)
    status = local_find_tools(cluster, options, err);
  if (status == STATUS_OK)
    status = local_make_dirs(cluster, options, err);
  if (status == STATUS_OK)
    status = local_initdb(cluster, err);
  if (status == STATUS_OK)
    status = local_postgres(engine, cluster, options, err);
  if (status != STATUS_OK) {
    local_stop(backend, cluster);
    return status;
  }
  *out = cluster;
  return STATUS_OK;
}

static const char *local_socket_dir(void *cluster) {
  return ((LocalCluster *)cluster)->socket_dir;
}

static const char *local_image(void *cluster) {
  return ((LocalCluster *)cluster)->image;
}

/* No child of ours: it is watched by its start time, since pids are used again. */
static void local_reap_one(void *user, const RegistryNote *note) {
  int *count = user;
  Error failed;
  if (note->pid > 0 && registry_start_time(note->pid) == note->start) {
    (*count)++;
    (void)kill(note->pid, SIGQUIT);
    int64_t deadline = clock_monotonic_us() + (int64_t)LOCAL_STOP_SECONDS * 1000000;
    while (registry_start_time(note->pid) == note->start && clock_monotonic_us() < deadline)
      usleep(ENGINE_TICK_MS * 1000 / 5);
    if (registry_start_time(note->pid) == note->start)
      (void)kill(note->pid, SIGKILL);
  } else if (file_exists(note->directory)) {
    (*count)++;
  }
  if (file_remove_tree(note->directory, &failed) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "a disposable cluster's directory is left behind", &failed);
}

Status local_engine_reap(const char *agent, const char *job_id, int *count, Error *err) {
  *count = 0;
  return registry_reap(agent, job_id, local_reap_one, count, err);
}

static Status local_reap(void *backend, const char *agent, const char *job_id, int *count, Error *err) {
  (void)backend;
  return local_engine_reap(agent, job_id, count, err);
}

static void local_close(void *backend) {
  free(backend);
}

static const EngineOps local_ops = {.name = "local",
                                    .start = local_start,
                                    .alive = local_alive,
                                    .disk_full = local_disk_full,
                                    .socket_dir = local_socket_dir,
                                    .image = local_image,
                                    .place = local_place,
                                    .stop = local_stop,
                                    .reap = local_reap,
                                    .close = local_close};

Status local_engine_open(const DrillConfig *config, const EngineOps **ops, void **backend, Error *err) {
  (void)err;
  LocalEngine *engine = memory_alloc(sizeof *engine);
  engine->config = config;
  *ops = &local_ops;
  *backend = engine;
  return STATUS_OK;
}
