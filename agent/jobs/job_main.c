/* The job child's main: one job, from its Start frame to its Result frame. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/jobs/channel.h"
#include "agent/jobs/kind.h"
#include "agent/jobs/result.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

/* Never outlives the agent: it alone holds the other end of stdin, so if it ended before PR_SET_PDEATHSIG took effect,
 * that end is closed. (Whether the parent is process 1 says nothing: in a container the agent may be just that.) */
static bool bind_to_agent(int in) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &ignore, NULL);
  /* A Ctrl-C on the agent's terminal may reach its children too; the agent decides what becomes of them. */
  sigaction(SIGINT, &ignore, NULL);
  struct pollfd other_end = {.fd = in, .events = POLLIN};
  return poll(&other_end, 1, 0) >= 0 && !(other_end.revents & POLLHUP);
}

static Status run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  switch (context->job->kind) {
  case PGSEAL__JOB_KIND__JOB_KIND_DUMP:
    return dump_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_DRILL:
    return drill_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_PLAN:
    return plan_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_RESTORE:
    return restore_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_PRUNE:
    return prune_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_REHEARSE:
    return rehearse_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_INVENTORY:
    return inventory_job_run(context, result, err);
  case PGSEAL__JOB_KIND__JOB_KIND_TRIAL:
    return trial_job_run(context, result, err);
  default:
    return error_set(err, ERR_PROTOCOL, "a job of a kind this agent does not know");
  }
}

static Status send_result(JobChannel *channel, Pgseal__JobResult *result, Error *err) {
  Pgseal__JobMessage message = PGSEAL__JOB_MESSAGE__INIT;
  message.body_case = PGSEAL__JOB_MESSAGE__BODY_RESULT;
  message.result = result;
  return job_channel_send(channel, &message, err);
}

static Pgseal__JobResult *new_result(void) {
  Pgseal__JobResult *result = memory_alloc(sizeof *result);
  pgseal__job_result__init(result);
  return result;
}

static int hand_over(JobChannel *channel, Pgseal__JobResult *result) {
  Error err;
  Status status = send_result(channel, result, &err);
  pgseal__job_result__free_unpacked(result, NULL);
  if (status == ERR_PROTOCOL) { /* larger than a frame may be: say that instead */
    error_prefix(&err, "the job's result cannot be sent");
    result = new_result();
    job_result_set_error(result, &err);
    status = send_result(channel, result, &err);
    pgseal__job_result__free_unpacked(result, NULL);
  }
  if (status)
    log_failure(LOG_LEVEL_ERROR, "cannot hand over the result", &err);
  return status ? 1 : 0;
}

/* What it took, for whoever sizes an agent: `docs/performance.md` says what to expect. */
static void log_usage(double seconds) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0)
    return;
  char wall[32], cpu[32], peak[32];
  snprintf(wall, sizeof wall, "%.1f", seconds);
  snprintf(cpu, sizeof cpu, "%.1f",
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
  snprintf(peak, sizeof peak, "%ld", usage.ru_maxrss / 1024);
  log_info("the job ends", "seconds", wall, "cpu_seconds", cpu, "peak_rss_mib", peak, NULL);
}

static int work(const JobContext *context) {
  Pgseal__JobResult *result = new_result();
  int64_t start = clock_monotonic_us();
  Error err;
  Status status = run(context, result, &err);
  result->seconds = (double)(clock_monotonic_us() - start) / 1e6;
  if (status) {
    log_failure(LOG_LEVEL_WARN, "the job did not succeed", &err);
    job_result_set_error(result, &err);
  } else {
    result->outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  }
  log_usage(result->seconds);
  return hand_over(context->channel, result);
}

/* The agent's configuration is read again: it may have been changed to something wrong since the agent started. */
static int run_job(const char *config_path, JobChannel *channel, const Pgseal__Job *job) {
  Error err;
  AgentConfig *config = NULL;
  Status status = agent_config_load(config_path, &config, &err);
  LogLevel level = LOG_LEVEL_INFO;
  if (!status)
    log_level_from_name(config->log_level, &level);
  log_init("job", level, !status && strcmp(config->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
  CLEANUP_FREE char *name = memory_format("pgseal-%s", job_kind_name(job->kind));
  prctl(PR_SET_NAME, name); /* the program is started as /proc/self/exe */
  log_context("job", job->id);
  log_context("checkpoint", job->checkpoint_id);
  if (!status)
    status = job_channel_listen(channel, &err);
  if (status) {
    log_failure(LOG_LEVEL_ERROR, "the job cannot start", &err);
    Pgseal__JobResult *result = new_result();
    job_result_set_error(result, &err);
    agent_config_free(config);
    return hand_over(channel, result);
  }
  CLEANUP_FREE char *scratch = memory_format("%s/scratch/%s", config->data_dir, job->id);
  JobContext context = {.config = config, .job = job, .scratch = scratch, .channel = channel};
  int code = work(&context);
  agent_config_free(config);
  return code;
}

int job_main(const char *config_path) {
  /* The frames' descriptors are moved away from 0 and 1, so that nothing a library prints gets between them, and no
   * process that the job starts can hold them open. */
  int in = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int out = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  int null = open("/dev/null", O_RDONLY);
  if (in < 0 || out < 0 || !bind_to_agent(in) || dup2(STDERR_FILENO, STDOUT_FILENO) < 0 || dup2(null, STDIN_FILENO) < 0)
    return 1;
  close(null);
  JobChannel *channel = memory_alloc(sizeof *channel); /* the reader thread's, to the end of the process */
  Pgseal__Job *job = NULL;
  Error err;
  log_init("job", LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
  if (job_channel_open(channel, in, out, &job, &err)) {
    log_failure(LOG_LEVEL_ERROR, "the job cannot start", &err);
    return 1;
  }
  int code = run_job(config_path, channel, job);
  pgseal__job__free_unpacked(job, NULL);
  return code;
}
