/* Settings of a cluster nobody will miss: it is made, read once and thrown away. */
#include <stdlib.h>
#include <unistd.h>

#include "agent/engine/backend.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { SETTINGS_DEFAULT_MEMORY_MB = 2048, SETTINGS_MAX_COUNT = 48 };

static int clamp(int value, int low, int high) {
  return value < low ? low : value > high ? high : value;
}

int settings_memory_mb(const DrillConfig *config) {
  return config->memory_mb > 0 ? config->memory_mb : SETTINGS_DEFAULT_MEMORY_MB;
}

int settings_jobs(const DrillConfig *config) {
  if (config->jobs > 0)
    return config->jobs;
  if (config->cpus > 0)
    return config->cpus;
  long cpus = sysconf(_SC_NPROCESSORS_ONLN);
  return clamp((int)cpus, 1, 16);
}

static const char *const fixed_settings[] = {
    "listen_addresses=",
    /* durability */
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "checkpoint_timeout=1h",
    "max_prepared_transactions=0",
    "max_logical_replication_workers=0",
    /* nothing of its own accord */
    "autovacuum=off",
    "jit=off",
    "log_checkpoints=off",
    /* a crash ends the cluster, so that it is seen as one */
    "restart_after_crash=off",
    "max_connections=32",
    /* statements hold the source's data: they stay out of the log */
    "log_min_error_statement=panic",
    "log_min_duration_statement=-1",
    "logging_collector=off",
    "log_timezone=UTC",
    "timezone=UTC",
    "lc_messages=C",
};

char **settings_list(const DrillConfig *config, const char *socket_dir) {
  int memory = settings_memory_mb(config), jobs = settings_jobs(config);
  char **list = memory_alloc(SETTINGS_MAX_COUNT * sizeof *list);
  size_t count = 0;
  for (size_t i = 0; i < ARRAY_SIZE(fixed_settings); i++)
    list[count++] = memory_strdup(fixed_settings[i]);
  list[count++] = memory_format("unix_socket_directories=%s", socket_dir);
  list[count++] = memory_format("shared_buffers=%dMB", clamp(memory / 4, 16, 8192));
  /* one index build per job at a time, together half of the memory */
  list[count++] = memory_format("maintenance_work_mem=%dMB", clamp(memory / 2 / (jobs + 1), 16, 2047));
  list[count++] = memory_format("work_mem=%dMB", clamp(memory / 16 / (jobs + 1), 4, 256));
  /* pg_dump locks every table in one transaction; some 350 bytes each, times max_connections */
  list[count++] = memory_format("max_locks_per_transaction=%d", clamp(memory * 2, 1024, 16384));
  return list;
}

void settings_free(char **settings) {
  for (char **s = settings; s && *s; s++)
    free(*s);
  free(settings);
}
