/* What a drill's container looks like. */
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/engine/docker.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* Ample for one small server, and below what engines keep for themselves: podman lowers its own before it starts any
 * container, and none of them can go above that without CAP_SYS_RESOURCE. */
enum { DOCKER_NOFILE_LIMIT = 8192, DOCKER_NPROC_LIMIT = 4096 };

#define CONTAINER_SOCKET_DIR "/pgseal/socket"
#define CONTAINER_DATA_VOLUME "/var/lib/postgresql"
/* No image has it: podman gives a tmpfs the mode of the directory that it covers, whatever mode is asked for. */
#define CONTAINER_DATA_TMPFS "/pgseal/data"

/* $1: major version; the rest: arguments of postgres. Nothing from outside is ever part of this text. */
static const char start_script[] =
    "set -eu\n"
    "major=$1; shift\n"
    "for bin in /usr/lib/postgresql/$major/bin /usr/pgsql-$major/bin /usr/local/bin /usr/bin none; do\n"
    "  if [ -x \"$bin/initdb\" ] && [ -x \"$bin/postgres\" ]; then break; fi\n"
    "done\n"
    "if [ \"$bin\" = none ]; then echo \"this image has no PostgreSQL $major server\" >&2; "
    "exit " DOCKER_EXIT_OTHER_SERVER "; fi\n"
    "case \"$(\"$bin/postgres\" -V)\" in\n"
    "  *\") $major\"[!0-9]*) ;;\n"
    "  *) echo \"this image has another PostgreSQL than $major: $(\"$bin/postgres\" -V)\" >&2; "
    "exit " DOCKER_EXIT_OTHER_SERVER " ;;\n"
    "esac\n"
    "if [ -d " CONTAINER_DATA_TMPFS " ]; then data=" CONTAINER_DATA_TMPFS
    "/pgseal-drill; mkdir -m 700 \"$data\"; else\n"
    "  data=" CONTAINER_DATA_VOLUME "/pgseal-drill\n"
    "  if ! mkdir -m 700 \"$data\" 2>/dev/null; then data=/tmp/pgseal-drill; mkdir -m 700 \"$data\"; fi\n"
    "fi\n"
    "\"$bin/initdb\" -D \"$data\" -U " ENGINE_INITIAL_ROLE
    " --auth=trust --no-sync --locale=C --encoding=UTF8 >/dev/null\n"
    "exec \"$bin/postgres\" -D \"$data\" \"$@\"\n";

static json_t *docker_ulimit(const char *name, int resource, rlim_t most) {
  struct rlimit own;
  rlim_t limit = most;
  if (getrlimit(resource, &own) == 0 && own.rlim_max != RLIM_INFINITY && own.rlim_max < most)
    limit = own.rlim_max;
  return json_pack("{s:s, s:I, s:I}", "Name", name, "Soft", (json_int_t)limit, "Hard", (json_int_t)limit);
}

static json_t *docker_command(const DrillConfig *config, int major) {
  CLEANUP_FREE char *major_text = memory_format("%d", major);
  json_t *command = json_pack("[s, s, s]", start_script, "pgseal-drill", major_text);
  char **settings = settings_list(config, CONTAINER_SOCKET_DIR);
  for (char **s = settings; *s; s++) {
    json_array_append_new(command, json_string("-c"));
    json_array_append_new(command, json_string(*s));
  }
  settings_free(settings);
  return command;
}

static json_t *docker_host_config(const DrillConfig *config, const char *socket_dir, bool limits) {
  json_int_t memory = (json_int_t)settings_memory_mb(config) << 20;
  CLEANUP_FREE char *bind = memory_format("%s:" CONTAINER_SOCKET_DIR, socket_dir);
  json_t *host = json_pack("{s:s, s:[s], s:[s], s:[s, s], s:b, s:I, s:{s:s, s:s}, s:[o, o]}", "NetworkMode", "none",
                           "Binds", bind, "CapDrop", "ALL", "SecurityOpt", "no-new-privileges",
                           /* the agent and the container meet at the socket, which SELinux would keep apart */
                           "label=disable", "ReadonlyRootfs", 1, "ShmSize", memory / 2, "Tmpfs", "/tmp", "mode=1777",
                           "/run", "mode=0755", "Ulimits", docker_ulimit("nofile", RLIMIT_NOFILE, DOCKER_NOFILE_LIMIT),
                           docker_ulimit("nproc", RLIMIT_NPROC, DOCKER_NPROC_LIMIT));
  if (limits) {
    json_object_set_new(host, "Memory", json_integer(memory));
    json_object_set_new(host, "MemorySwap", json_integer(memory)); /* no swap beyond it */
    if (config->cpus > 0)
      json_object_set_new(host, "NanoCpus", json_integer((json_int_t)config->cpus * 1000000000));
  }
  if (config->tmpfs_mb > 0) {
    CLEANUP_FREE char *options = memory_format("mode=1777,size=%dm", config->tmpfs_mb);
    json_object_set_new(json_object_get(host, "Tmpfs"), CONTAINER_DATA_TMPFS, json_string(options));
  }
  return host;
}

json_t *docker_container_spec(const DrillConfig *config, const char *image, const char *socket_dir,
                              const ClusterOptions *options, bool limits) {
  json_t *spec =
      json_pack("{s:s, s:s, s:[s, s], s:[s, s], s:o, s:b, s:{s:s, s:s}, s:o}", "Image", image, "User", "postgres",
                "Env", "LC_ALL=C", "TZ=UTC", "Entrypoint", "/bin/sh", "-c", "Cmd",
                docker_command(config, options->major), "NetworkDisabled", 1, "Labels", "pgseal.agent", options->agent,
                "pgseal.job", options->job_id, "HostConfig", docker_host_config(config, socket_dir, limits));
  if (config->tmpfs_mb <= 0) /* anonymous, so that it goes with the container; with the owner the image gave it */
    json_object_set_new(spec, "Volumes", json_pack("{s:{}}", CONTAINER_DATA_VOLUME));
  return spec;
}
