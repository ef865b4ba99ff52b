#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* What a role or a database of the source may have set, and what would get in the way of reading all of it. */
static const char drill_options[] = "-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 "
                                    "-c idle_in_transaction_session_timeout=0 -c role=none "
                                    "-c default_transaction_isolation=read\\ committed -c row_security=off";
/* Login triggers came with 17, and this setting with them. */
static const char drill_options_17[] = " -c event_triggers=off -c transaction_timeout=0";
enum { EVENT_TRIGGERS_OFF_SINCE = 17, BLAME_TICKS = 30, BLAME_TICK_US = 100000 };

int drill_cluster_major(const DrillRun *run) {
  return run->forward_major ? run->forward_major : run->major;
}

Status drill_conninfo(DrillRun *run, const char *database, Conninfo **out, Error *err) {
  Conninfo *conninfo = NULL;
  Status status = conninfo_parse("", &conninfo, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *options = memory_format(
      "%s%s", drill_options, drill_cluster_major(run) >= EVENT_TRIGGERS_OFF_SINCE ? drill_options_17 : "");
  conninfo_set(conninfo, "host", cluster_socket_dir(run->cluster));
  conninfo_set(conninfo, "port", "5432");
  conninfo_set(conninfo, "user", cluster_superuser(run->cluster));
  conninfo_set(conninfo, "options", options);
  CLEANUP_FREE char *passfile = memory_format("%s/no-passwords", run->context->scratch);
  conninfo_set(conninfo, "passfile", passfile); /* does not exist; nor is anybody's own to be asked */
  conninfo_set(conninfo, "sslmode", "disable");
  if (database)
    conninfo_set(conninfo, "dbname", database);
  *out = conninfo;
  return STATUS_OK;
}

Status drill_connect(DrillRun *run, const char *database, PGconn **out, Error *err) {
  Conninfo *conninfo = NULL;
  Status status = drill_conninfo(run, database, &conninfo, err);
  if (status != STATUS_OK)
    return status;
  conninfo_set(conninfo, "client_encoding", "UTF8");
  status = postgres_connect(conninfo, "pgseal drill", out, err);
  conninfo_free(conninfo);
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(run, err);
}

Status drill_environment(DrillRun *run, char ***env, Error *err) {
  Conninfo *conninfo = NULL;
  Status status = drill_conninfo(run, NULL, &conninfo, err);
  if (status == STATUS_OK)
    status = conninfo_environment(conninfo, run->context->scratch, env, err);
  conninfo_free(conninfo);
  return status;
}

char *drill_dbname(const char *database) {
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, "--dbname=dbname='");
  for (const char *p = database; *p; p++) {
    if (*p == '\'' || *p == '\\')
      buffer_append_byte(&text, '\\');
    buffer_append_byte(&text, (uint8_t)*p);
  }
  buffer_append_text(&text, "'");
  return buffer_steal_text(&text);
}

Status drill_blame_cluster(DrillRun *run, Error *err) {
  Error lost;
  Status status = run->cluster ? cluster_alive(run->cluster, &lost) : STATUS_OK;
  /* its sessions end before it does, and only its end says why */
  for (int i = 0; i < BLAME_TICKS && run->cluster && status == STATUS_OK && err->status == ERR_CLUSTER_LOST; i++) {
    usleep(BLAME_TICK_US);
    status = cluster_alive(run->cluster, &lost);
  }
  if (status == ERR_CLUSTER_LOST || status == ERR_DISK_FULL || status == ERR_BUDGET_EXCEEDED)
    *err = lost;
  else if (run->cluster && err->status == ERR_DISK_FULL) /* the server said so */
    return cluster_disk_full(run->cluster, err);
  return err->status;
}

static Status drill_find_tools(DrillRun *run, Error *err) {
  const AgentConfig *config = run->context->config;
  return postgres_tools_find(config->bin_dirs, config->bin_dir_count, drill_cluster_major(run), &run->tools_dir,
                             &run->tools_version, err);
}

static Status too_small(const DrillRun *run, const char *place, uint64_t room, uint64_t stored, Error *err) {
  char has[TEXT_SIZE_SIZE], takes[TEXT_SIZE_SIZE], archive[TEXT_SIZE_SIZE];
  Status status = place ? ERR_DISK_FULL : ERR_BUDGET_EXCEEDED;
  const char *where = place ? place : "drill.tmpfs_mb";
  error_set(err, status,
            "the copy cannot fit: %s has room for %s; the checkpoint takes %s in the repository, and its "
            "archive is %s",
            where, text_size((int64_t)room, has), text_size((int64_t)stored, takes),
            text_size((int64_t)run->manifest.fingerprint.archive_size, archive));
  error_object(err, "%s", where);
  if (place)
    error_remedy(err, "Free space there, give the agent a larger disk, or drill on another agent.");
  else
    error_remedy(err, "Raise `drill.tmpfs_mb`, or leave it out: then the disposable cluster lives on disk.");
  return status;
}

Status drill_check_room(DrillRun *run, Error *err) {
  const DrillConfig *config = &run->context->config->drill;
  uint64_t stored = 0, device, room = 0, total;
  if (!run->manifest_read)
    return STATUS_OK;
  for (size_t i = 0; i < run->manifest.segment_count; i++)
    stored += run->manifest.segments[i].size;
  CLEANUP_FREE char *place = engine_place(run->engine, run->context->scratch);
  bool memory = !place && config->tmpfs_mb > 0;
  if (memory)
    room = (uint64_t)config->tmpfs_mb << 20;
  else if (!place || !file_room(place, &device, &room, &total))
    return STATUS_OK; /* not known: it is tried */
  return room < stored ? too_small(run, place, room, stored, err) : STATUS_OK;
}

Status drill_cluster_start(DrillRun *run, Error *err) {
  const AgentConfig *config = run->context->config;
  Status status = drill_find_tools(run, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *owner = agent_config_owner(config);
  ClusterOptions options = {.major = drill_cluster_major(run),
                            .image = run->spec->image,
                            .superuser = run->bootstrap_role,
                            .job_id = run->context->job->id,
                            .agent = owner,
                            .scratch = run->context->scratch,
                            .bin_dirs = config->bin_dirs,
                            .bin_dir_count = config->bin_dir_count,
                            .check = drill_check_hook,
                            .user = run};
  status = cluster_start(run->engine, &options, &run->cluster, err);
  if (status != STATUS_OK)
    return status;
  run->image = memory_strdup(cluster_image(run->cluster));
  run->maintenance = "postgres";
  status = drill_connect(run, run->maintenance, &run->admin, err);
  if (status == STATUS_OK)
    run->server_version = memory_strdup(PQparameterStatus(run->admin, "server_version"));
  return status;
}
