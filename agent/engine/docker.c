/* The docker engine: one container per cluster, through the Docker API as Docker and Podman serve it. */
#include "agent/engine/docker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { DOCKER_FRAME_HEADER = 8, DOCKER_ID_SHOWN = 19, DOCKER_STOP_TRIES = 3 };

typedef struct DockerCluster {
  char *container; /* our name for it */
  char *socket_dir, *image;
} DockerCluster;

static Status docker_refused(Error *err, Status code, const char *what, DockerReply *reply) {
  char message[DOCKER_MESSAGE_SIZE];
  docker_reply_message(reply, message, sizeof message);
  return error_set(err, code, "the container engine refused to %s (HTTP %ld): %s", what, reply->status, message);
}

static Status docker_container_call(DockerEngine *engine, const char *method, const char *container, const char *call,
                                    DockerReply *reply, Error *err) {
  CLEANUP_FREE char *path = memory_format("/containers/%s%s", container, call);
  return docker_http_request(engine->http, method, path, NULL, DOCKER_TIMEOUT_SECONDS, reply, err);
}

/* Kills first: podman's forced removal would first ask the server to end by itself. *removed: it was there. */
static Status docker_remove(DockerEngine *engine, const char *container, bool *removed, Error *err) {
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  Status status = docker_container_call(engine, "POST", container, "/kill?signal=KILL", &reply, err);
  if (status == STATUS_OK)
    status = docker_container_call(engine, "DELETE", container, "?force=true&v=true", &reply, err);
  if (status != STATUS_OK)
    return status;
  *removed = reply.status >= 200 && reply.status < 300;
  /* 409: its removal is under way already */
  if (!*removed && reply.status != 404 && reply.status != 409)
    return docker_refused(err, ERR_ENGINE_UNAVAILABLE, "remove a container", &reply);
  return STATUS_OK;
}

static void docker_cluster_free(DockerCluster *cluster) {
  free(cluster->container);
  free(cluster->socket_dir);
  free(cluster->image);
  free(cluster);
}

static void docker_stop(void *backend, void *opaque) {
  DockerCluster *cluster = opaque;
  Error failed;
  bool removed;
  Status status = STATUS_OK;
  for (int i = 0; i < DOCKER_STOP_TRIES; i++) {
    status = docker_remove(backend, cluster->container, &removed, &failed);
    if (status == STATUS_OK)
      break;
  }
  if (status != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "a drill's container is left behind until the agent reaps it", &failed);
  if (file_remove_tree(cluster->socket_dir, &failed) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "a drill's socket directory is left behind", &failed);
  docker_cluster_free(cluster);
}

/* The container's user is none of ours, so the directory is open to all; scratch around it is not. */
static Status docker_make_socket_dir(const char *path, Error *err) {
  Status status = file_remove_tree(path, err);
  if (status != STATUS_OK)
    return status;
  if (mkdir(path, 0777) != 0 || chmod(path, 0777) != 0)
    return error_set_errno(err, errno, "cannot make %s", path);
  return STATUS_OK;
}

static Status docker_create_and_start(DockerEngine *engine, DockerCluster *cluster, const char *image,
                                      const ClusterOptions *options, bool limits, Error *err) {
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  CLEANUP_FREE char *path = memory_format("/containers/create?name=%s", cluster->container);
  json_t *spec = docker_container_spec(engine->config, image, cluster->socket_dir, options, limits);
  Status status = docker_http_request(engine->http, "POST", path, spec, DOCKER_TIMEOUT_SECONDS, &reply, err);
  json_decref(spec);
  if (status != STATUS_OK)
    return status;
  if (reply.status != 201)
    return docker_refused(err, ERR_CLUSTER_START, "make a container", &reply);
  status = docker_container_call(engine, "POST", cluster->container, "/start", &reply, err);
  if (status == STATUS_OK && reply.status != 204)
    status = docker_refused(err, ERR_CLUSTER_START, "start a container", &reply);
  return status;
}

/* A rootless engine may not have been given the cgroup controllers that bounds need: better a drill without. */
static Status docker_launch(DockerEngine *engine, DockerCluster *cluster, const char *image,
                            const ClusterOptions *options, Error *err) {
  Error first, ignored;
  bool removed;
  Status status = docker_create_and_start(engine, cluster, image, options, true, &first);
  if (status == STATUS_OK)
    return STATUS_OK;
  if (status == ERR_CLUSTER_START && strstr(first.message, "cgroup")) {
    log_warn("the container engine cannot bound memory and CPU here; drilling without bounds", "reason", first.message,
             NULL);
    if (docker_remove(engine, cluster->container, &removed, &ignored) == STATUS_OK &&
        docker_create_and_start(engine, cluster, image, options, false, &ignored) == STATUS_OK)
      return STATUS_OK;
  }
  *err = first;
  return status;
}

static Status docker_start(void *backend, const ClusterOptions *options, void **out, Error *err) {
  DockerEngine *engine = backend;
  CLEANUP_FREE char *image = NULL, *id = NULL;
  Status status = docker_image_find(engine, options->image, options->major, &image, &id, err);
  if (status != STATUS_OK)
    return status;
  DockerCluster *cluster = memory_alloc(sizeof *cluster);
  cluster->container = memory_format("pgseal-drill-%s", id_new().text);
  cluster->socket_dir = memory_format("%s/socket", options->scratch);
  cluster->image = memory_format("%s (%.*s)", image, DOCKER_ID_SHOWN, id);
  status = docker_make_socket_dir(cluster->socket_dir, err);
  if (status != STATUS_OK) {
    docker_cluster_free(cluster);
    return status;
  }
  status = docker_launch(engine, cluster, image, options, err);
  if (status != STATUS_OK) {
    docker_stop(backend, cluster);
    return status;
  }
  *out = cluster;
  return STATUS_OK;
}

/* Logs come in frames: stream, 3 zero bytes, 4 bytes of length (big-endian), payload. */
static void docker_log_text(const Buffer *body, Buffer *out) {
  size_t at = 0;
  while (body->size - at >= DOCKER_FRAME_HEADER) {
    const uint8_t *h = body->data + at;
    size_t size = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | h[7];
    at += DOCKER_FRAME_HEADER;
    if (size > body->size - at)
      size = body->size - at;
    buffer_append(out, body->data + at, size);
    at += size;
  }
}

static Status docker_other_server(const DockerCluster *cluster, const Buffer *log, Error *err) {
  char said[ENGINE_LOG_TAIL];
  engine_log_tail((const char *)log->data, log->size, said);
  error_set(err, ERR_IMAGE_MISSING, "%s cannot be used: %s", cluster->image, said);
  error_remedy(err, "Name an image that has a PostgreSQL server of this major version in `drill.images`.");
  error_object(err, "%s", cluster->image);
  return err->status;
}

static Status docker_alive(void *backend, void *opaque, Error *err) {
  DockerCluster *cluster = opaque;
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  Status status = docker_container_call(backend, "GET", cluster->container, "/json", &reply, err);
  if (status != STATUS_OK)
    return status;
  json_t *state = json_object_get(reply.json, "State");
  if (reply.status == 200 && json_is_true(json_object_get(state, "Running")))
    return STATUS_OK;
  if (reply.status != 200 && reply.status != 404)
    return docker_refused(err, ERR_ENGINE_UNAVAILABLE, "tell about a container", &reply);
  int exit_code = (int)json_integer_value(json_object_get(state, "ExitCode"));
  bool oom = json_is_true(json_object_get(state, "OOMKilled"));
  CLEANUP_FREE char *what = reply.status == 404 ? memory_strdup("is gone: its container was removed by somebody else")
                                                : memory_format("ended (exit code %d)", exit_code);
  Error unread;
  CLEANUP(buffer_release) Buffer log = {0};
  if (docker_container_call(backend, "GET", cluster->container, "/logs?stdout=1&stderr=1&tail=30", &reply, &unread) ==
          STATUS_OK &&
      reply.status == 200)
    docker_log_text(&reply.body, &log);
  if (exit_code == DOCKER_EXIT_OTHER_SERVER_CODE)
    return docker_other_server(cluster, &log, err);
  return engine_lost(err, what, oom, (const char *)log.data, log.size);
}

static Status docker_disk_full(void *backend, void *opaque, Error *err) {
  const DockerCluster *cluster = opaque;
  const DockerEngine *engine = backend;
  int tmpfs_mb = engine->config->tmpfs_mb;
  error_object(err, "%s", cluster->image);
  err->status = tmpfs_mb > 0 ? ERR_BUDGET_EXCEEDED : ERR_DISK_FULL;
  if (tmpfs_mb > 0)
    error_remedy(err, "Raise `drill.tmpfs_mb` (it is %d), or leave it out: then the disposable cluster lives on disk.",
                 tmpfs_mb);
  else
    error_remedy(err, "Free space in the container engine's storage, where the disposable cluster lives.");
  return err->status;
}

/* Volumes are below the engine's own directory. An engine that is elsewhere has none here. */
static char *docker_place(void *backend, const char *scratch) {
  (void)scratch;
  DockerEngine *engine = backend;
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  Error ignored;
  if (engine->config->tmpfs_mb > 0 ||
      docker_http_request(engine->http, "GET", "/info", NULL, DOCKER_PING_SECONDS, &reply, &ignored) != STATUS_OK)
    return NULL;
  const char *root = json_string_value(json_object_get(reply.json, "DockerRootDir"));
  return reply.status == 200 && root && *root == '/' ? memory_strdup(root) : NULL;
}

static const char *docker_socket_dir(void *cluster) {
  return ((DockerCluster *)cluster)->socket_dir;
}

static const char *docker_image(void *cluster) {
  return ((DockerCluster *)cluster)->image;
}

static Status docker_reap(void *backend, const char *agent, const char *job_id, int *count, Error *err) {
  DockerEngine *engine = backend;
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  CLEANUP_FREE char *agent_label = memory_format("pgseal.agent=%s", agent);
  CLEANUP_FREE char *job_label = job_id ? memory_format("pgseal.job=%s", job_id) : memory_strdup("pgseal.job");
  json_t *filter = json_pack("{s:[s, s]}", "label", agent_label, job_label);
  CLEANUP_FREE char *text = json_dumps(filter, JSON_COMPACT);
  json_decref(filter);
  CLEANUP_FREE char *escaped = docker_http_escape(engine->http, text ? text : "");
  CLEANUP_FREE char *path = memory_format("/containers/json?all=true&filters=%s", escaped);
  Status status = docker_http_request(engine->http, "GET", path, NULL, DOCKER_TIMEOUT_SECONDS, &reply, err);
  if (status != STATUS_OK)
    return status;
  if (reply.status != 200 || !json_is_array(reply.json))
    return docker_refused(err, ERR_ENGINE_UNAVAILABLE, "list containers", &reply);
  *count = 0;
  size_t index;
  json_t *item;
  json_array_foreach(reply.json, index, item) {
    const char *id = json_string_value(json_object_get(item, "Id"));
    bool removed = false;
    if (id && (status = docker_remove(engine, id, &removed, err)) != STATUS_OK)
      return status;
    *count += removed;
  }
  int local = 0; /* of before the engine was changed; and short links */
  status = local_engine_reap(agent, job_id, &local, err);
  *count += local;
  return status;
}

static void docker_close(void *backend) {
  DockerEngine *engine = backend;
  docker_http_free(engine->http);
  free(engine);
}

static const EngineOps docker_ops = {.name = "docker",
                                     .start = docker_start,
                                     .alive = docker_alive,
                                     .disk_full = docker_disk_full,
                                     .socket_dir = docker_socket_dir,
                                     .image = docker_image,
                                     .place = docker_place,
                                     .stop = docker_stop,
                                     .reap = docker_reap,
                                     .close = docker_close};

/* The first that exists. Freed by the caller; NULL if there is none. */
static char *docker_default_socket(void) {
  static const char scheme[] = "unix://";
  const char *host = getenv("DOCKER_HOST"), *runtime = getenv("XDG_RUNTIME_DIR");
  if (host && strncmp(host, scheme, strlen(scheme)) == 0)
    return memory_strdup(host + strlen(scheme));
  CLEANUP_FREE char *rootless = memory_format("%s/podman/podman.sock", runtime ? runtime : "");
  const char *candidates[] = {runtime ? rootless : "", "/run/podman/podman.sock", "/var/run/docker.sock"};
  for (size_t i = 0; i < ARRAY_SIZE(candidates); i++)
    if (*candidates[i] && access(candidates[i], R_OK | W_OK) == 0)
      return memory_strdup(candidates[i]);
  return NULL;
}

static Status docker_ping(DockerEngine *engine, Error *err) {
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  Status status = docker_http_request(engine->http, "GET", "/_ping", NULL, DOCKER_PING_SECONDS, &reply, err);
  if (status == STATUS_OK && reply.status != 200)
    status = docker_refused(err, ERR_ENGINE_UNAVAILABLE, "answer", &reply);
  if (status == ERR_TIMEOUT) {
    err->status = status = ERR_ENGINE_UNAVAILABLE;
    error_remedy(err, "%s", error_default_remedy(status));
  }
  return status;
}

Status docker_engine_open(const DrillConfig *config, const EngineOps **ops, void **backend, Error *err) {
  CLEANUP_FREE char *socket = config->socket ? memory_strdup(config->socket) : docker_default_socket();
  if (!socket)
    return error_set(err, ERR_ENGINE_UNAVAILABLE, "there is no container engine's socket here");
  DockerEngine *engine = memory_alloc(sizeof *engine);
  *engine = (DockerEngine){.config = config, .http = docker_http_new(socket)};
  Status status = docker_ping(engine, err);
  if (status != STATUS_OK) {
    docker_close(engine);
    return status;
  }
  *ops = &docker_ops;
  *backend = engine;
  return STATUS_OK;
}
