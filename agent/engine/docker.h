/* The parts of the docker engine, shared by docker*.c only. */
#ifndef PGSEAL_AGENT_ENGINE_DOCKER_H
#define PGSEAL_AGENT_ENGINE_DOCKER_H

#include "agent/engine/backend.h"
#include "agent/engine/docker_http.h"

enum { DOCKER_MESSAGE_SIZE = 1024, DOCKER_PATH_SIZE = 512 };

/* What the container's script ends with where the image has no server of the version wanted. */
#define DOCKER_EXIT_OTHER_SERVER "65"
enum { DOCKER_EXIT_OTHER_SERVER_CODE = 65 };

typedef struct DockerEngine {
  const DrillConfig *config;
  DockerHttp *http;
} DockerEngine;

/* Finds the image for a major version, pulling it if need be; or `asked`, unless it is NULL or "": ERR_CONFIG if the
 * configuration does not allow that one. *name is freed by the caller, *id ("sha256:...") too.
 * ERR_IMAGE_MISSING with how to build or pull it. */
Status docker_image_find(DockerEngine *engine, const char *asked, int major, char **name, char **id,
                         Error *err) MUST_CHECK;
/* What POST /containers/create is asked. New reference. */
json_t *docker_container_spec(const DrillConfig *config, const char *image, const char *socket_dir,
                              const ClusterOptions *options, bool limits);

#endif
