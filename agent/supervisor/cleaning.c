#include "agent/supervisor/cleaning.h"

#include <unistd.h>

#include "agent/engine/engine.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { SECOND_LOOK_SECONDS = 3 };

static void reap(const AgentConfig *config, const char *job_id) {
  Engine *engine = NULL;
  int count = 0;
  Error err;
  CLEANUP_FREE char *owner = agent_config_owner(config);
  Status status = engine_open(&config->drill, &engine, &err);
  if (!status)
    status = engine_reap(engine, owner, job_id, &count, &err);
  if (engine)
    engine_close(engine);
  if (status)
    log_failure(LOG_LEVEL_WARN, "cannot look for leftovers of drills", &err);
  if (count > 0) {
    char number[16];
    snprintf(number, sizeof number, "%d", count);
    log_info("reaped leftovers of drills", "count", number, "job", job_id ? job_id : "(any)", NULL);
  }
}

void cleaning_run(const AgentConfig *config, const char *job_id, int flags) {
  if (flags & CLEANING_DRILL)
    reap(config, job_id);
  if (flags & CLEANING_DRILL && flags & CLEANING_TWICE) {
    sleep(SECOND_LOOK_SECONDS);
    reap(config, job_id);
  }
  CLEANUP_FREE char *scratch =
      job_id ? memory_format("%s/scratch/%s", config->data_dir, job_id) : memory_format("%s/scratch", config->data_dir);
  Error err;
  if (file_remove_tree(scratch, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "cannot remove scratch files", &err);
  if (flags & CLEANING_DRILL && !job_id)
    reap(config, NULL); /* short links, which lead nowhere only now */
}
