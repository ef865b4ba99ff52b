#include <stdlib.h>
#include <string.h>

#include "agent/engine/docker.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static bool docker_image_valid(const char *name) {
  static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/:@";
  size_t length = strlen(name);
  return length > 0 && length < DOCKER_PATH_SIZE / 2 && strspn(name, allowed) == length && !strstr(name, "..");
}

static Status docker_image_inspect(DockerEngine *engine, const char *name, char **id, Error *err) {
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  CLEANUP_FREE char *path = memory_format("/images/%s/json", name);
  Status status = docker_http_request(engine->http, "GET", path, NULL, DOCKER_TIMEOUT_SECONDS, &reply, err);
  if (status != STATUS_OK)
    return status;
  const char *found = json_string_value(json_object_get(reply.json, "Id"));
  if (reply.status == 200 && found) {
    *id = memory_strdup(found);
    return STATUS_OK;
  }
  char message[DOCKER_MESSAGE_SIZE];
  docker_reply_message(&reply, message, sizeof message);
  return error_set(err, ERR_IMAGE_MISSING, "there is no image %s: %s", name, message);
}

/* The answer to a pull is JSON objects one after another; one of them may tell of a failure. */
static bool docker_pull_failed(DockerReply *reply, char *message, size_t size) {
  if (reply->status != 200) {
    docker_reply_message(reply, message, size);
    return true;
  }
  size_t at = 0;
  while (at < reply->body.size) {
    json_error_t position;
    json_t *line =
        json_loadb((const char *)reply->body.data + at, reply->body.size - at, JSON_DISABLE_EOF_CHECK, &position);
    if (!line)
      return false;
    const char *error = json_string_value(json_object_get(line, "error"));
    if (error)
      text_clean(error, message, size);
    json_decref(line);
    if (error)
      return true;
    at += (size_t)position.position;
  }
  return false;
}

static Status docker_image_pull(DockerEngine *engine, const char *name, char **id, Error *err) {
  /* the tag goes apart from the name, unless a digest says it all */
  CLEANUP_FREE char *base = memory_strdup(name);
  char *colon = strchr(base, '@') ? NULL : strrchr(base, ':');
  if (colon && strchr(colon, '/'))
    colon = NULL; /* a registry's port */
  if (colon)
    *colon++ = '\0';
  CLEANUP_FREE char *image = docker_http_escape(engine->http, base);
  CLEANUP_FREE char *tag = docker_http_escape(engine->http, colon ? colon : "");
  CLEANUP_FREE char *path = memory_format("/images/create?fromImage=%s&tag=%s", image, tag);
  CLEANUP(docker_reply_release) DockerReply reply = {0};
  log_info("pulling a drill image", "image", name, NULL);
  Status status = docker_http_request(engine->http, "POST", path, NULL, DOCKER_PULL_SECONDS, &reply, err);
  if (status != STATUS_OK)
    return status;
  char message[DOCKER_MESSAGE_SIZE];
  if (docker_pull_failed(&reply, message, sizeof message))
    return error_set(err, ERR_IMAGE_MISSING, "%s", message);
  return docker_image_inspect(engine, name, id, err);
}

static const char *docker_image_configured(const DrillConfig *config, int major) {
  for (size_t i = 0; i < config->image_count; i++)
    if (config->images[i].major == major)
      return config->images[i].image;
  return NULL;
}

static Status docker_image_missing(const char *name, int major, const char *reason, Error *err) {
  error_set(err, ERR_IMAGE_MISSING, "there is no image %s for drills of PostgreSQL %d, and it cannot be pulled: %s",
            name, major, reason);
  error_remedy(
      err,
      "Pull it (`podman pull %s`), or build one from Debian's packages (`deploy/images/build %d`), and name it "
      "in `drill.images`.",
      name, major);
  error_object(err, "%s", name);
  return err->status;
}

/* Whoever chooses what runs on this machine is its administrator, and not the coordinator. */
static Status docker_image_allowed(const DrillConfig *config, const char *wanted, Error *err) {
  for (size_t i = 0; i < config->image_count; i++)
    if (strcmp(config->images[i].image, wanted) == 0)
      return STATUS_OK;
  for (size_t i = 0; i < config->allow_image_count; i++)
    if (text_glob(config->allow_images[i], wanted))
      return STATUS_OK;
  char shown[DOCKER_MESSAGE_SIZE];
  error_set(err, ERR_CONFIG, "this agent does not allow drills in image %s", text_clean(wanted, shown, sizeof shown));
  error_remedy(err, "Name it in `drill.allow_images` of its agent.yaml, or another one in the fleet's policy.");
  error_object(err, "drill.allow_images");
  return err->status;
}

Status docker_image_find(DockerEngine *engine, const char *asked, int major, char **name, char **id, Error *err) {
  bool named = asked && *asked;
  const char *configured = named ? asked : docker_image_configured(engine->config, major);
  /* what deploy/images/build makes with podman and with docker; and the official one */
  CLEANUP_FREE char *podman = memory_format("localhost/pgseal/postgres:%d", major);
  CLEANUP_FREE char *docker = memory_format("pgseal/postgres:%d", major);
  CLEANUP_FREE char *official = memory_format("postgres:%d", major);
  const char *candidates[] = {podman, docker, official};
  if (named && docker_image_allowed(engine->config, asked, err) != STATUS_OK)
    return err->status;
  if (configured && !docker_image_valid(configured)) {
    error_set(err, ERR_CONFIG, "%s is not the name of an image", configured);
    error_object(err, "drill.images");
    return err->status;
  }
  size_t count = configured ? 1 : ARRAY_SIZE(candidates);
  for (size_t i = 0; i < count; i++) {
    const char *candidate = configured ? configured : candidates[i];
    Status status = docker_image_inspect(engine, candidate, id, err);
    if (status == STATUS_OK)
      *name = memory_strdup(candidate);
    if (status != ERR_IMAGE_MISSING)
      return status;
  }
  const char *wanted = configured ? configured : official;
  Error failed;
  if (strncmp(wanted, "localhost/", strlen("localhost/")) == 0)
    return docker_image_missing(wanted, major, "it names this machine", err);
  if (docker_image_pull(engine, wanted, id, &failed) != STATUS_OK)
    return docker_image_missing(wanted, major, failed.message, err);
  *name = memory_strdup(wanted);
  return STATUS_OK;
}
