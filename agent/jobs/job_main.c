/* The job child's main: one job, from its Start frame to its Result frame. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/jobs/channel.h"
#include "agent/jobs/result.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

/* Keys are in memory: no core dumps, no ptrace by others of the same user. And never outlive the agent. */
static bool harden(void) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &ignore, NULL);
  /* A Ctrl-C on the agent's terminal reaches its children too; the agent decides what becomes of them. */
  sigaction(SIGINT, &ignore, NULL);
  return getppid() != 1;
}

static Status run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  switch (context->job->kind) {
  case PGSEAL__JOB_KIND__JOB_KIND_DUMP:
    return dump_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_DRILL:
    return drill_job_run(context, result, err);
  default:
    return error_set(err, ERR_PROTOCOL, "a job of a kind this agent does not know");
  }
}

static int work(const JobContext *context) {
  Pgseal__JobResult *result = memory_alloc(sizeof *result);
  pgseal__job_result__init(result);
  int64_t start = clock_monotonic_us();
  Error err;
  Status status = run(context, result, &err);
  result->seconds = (double)(clock_monotonic_us() - start) / 1e6;
  if (status) {
    log_failure(LOG_LEVEL_WARN, "the job did not succeed", &err);
    job_result_set_error(result, &err);
  } else {
    result->outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
    log_info("the job is done", NULL);
  }
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_RESULT;
  message.result = result;
  status = job_channel_send(context->channel, &message, &err);
  pgseal__job_result__free_unpacked(result, NULL);
  if (status)
    log_failure(LOG_LEVEL_ERROR, "cannot hand over the result", &err);
  return status ? 1 : 0;
}

int job_main(const char *config_path) {
  /* The frames' descriptors are moved away from 0 and 1, so that nothing a library prints gets between them. */
  int in = dup(STDIN_FILENO), out = dup(STDOUT_FILENO);
  if (!harden() || in < 0 || out < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    return 1;
  Error err;
  AgentConfig *config = NULL;
  JobChannel channel;
  Pgseal__Job *job = NULL;
  Status status = agent_config_load(config_path, &config, &err);
  LogLevel level = LOG_LEVEL_INFO;
  if (!status)
    log_level_from_name(config->log_level, &level);
  log_init("job", level, !status && strcmp(config->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
  if (!status)
    status = job_channel_open(&channel, in, out, &job, &err);
  if (status) {
    log_failure(LOG_LEVEL_ERROR, "the job cannot start", &err);
    return 1;
  }
  log_context("job", job->id);
  log_context("checkpoint", job->checkpoint_id);
  CLEANUP_FREE char *scratch = memory_format("%s/scratch/%s", config->data_dir, job->id);
  JobContext context = {.config = config, .job = job, .scratch = scratch, .channel = &channel};
  int code = work(&context);
  pgseal__job__free_unpacked(job, NULL);
  agent_config_free(config);
  return code;
}
