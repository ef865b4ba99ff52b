#include "cli/follow.h"

#include <signal.h>
#include <string.h>
#include <time.h>

#include "cli/api.h"
#include "cli/format.h"
#include "cli/http.h"
#include "cli/progress.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

void follow_prepare(Cli *cli) {
  (void)cli;
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
}

bool follow_sleep(int milliseconds) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  struct timespec time = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
  return sigtimedwait(&set, NULL, &time) > 0;
}

Status follow_request(Cli *cli, int patience_seconds, const char *method, const char *path, const json_t *body,
                      const char *idempotency_key, json_t **json, Error *err) {
  int64_t deadline = clock_monotonic_us() + (int64_t)patience_seconds * 1000000;
  bool told = false;
  Status status = api_connect(cli, err);
  if (status != STATUS_OK)
    return status;
  http_watch_signals(cli->http);
  for (;;) {
    status = api_call(cli, method, path, body, idempotency_key, json, err);
    if (status != ERR_UNAVAILABLE || clock_monotonic_us() >= deadline)
      return status;
    if (!told)
      cli_note(cli, "%s; trying again for %d s", err->message, patience_seconds);
    told = true;
    if (follow_sleep(FOLLOW_POLL_MS))
      return error_set(err, ERR_CANCELED, "interrupted");
  }
}

void follow_tell_error(const Cli *cli, const json_t *error) {
  if (!*api_text(error, "code") && !*api_text(error, "message"))
    return;
  Error err;
  error_set(&err, ERR_INTERNAL, "%s", api_text(error, "message"));
  error_object(&err, "%s", api_text(error, "object"));
  error_remedy(&err, "%s", api_text(error, "remedy"));
  fprintf(stderr, "  %s%s%s: %s\n", cli_style(cli->color_err, STYLE_BAD), api_text(error, "code"),
          cli_reset(cli->color_err), err.message);
  if (*err.object)
    fprintf(stderr, "  object: %s\n", err.object);
  if (*err.remedy)
    fprintf(stderr, "  remedy: %s\n", err.remedy);
}

static bool state_is(const char *state, const char *const *names) {
  for (; *names; names++)
    if (strcmp(state, *names) == 0)
      return true;
  return false;
}

static const json_t *follow_job(const json_t *checkpoint, const char *id) {
  const json_t *jobs = json_object_get(checkpoint, "jobs"), *job;
  size_t index;
  json_array_foreach(jobs, index, job) {
    if (strcmp(api_text(job, "id"), id) == 0)
      return job;
  }
  return NULL;
}

static bool follow_over(const Follow *follow, const json_t *checkpoint) {
  static const char *const checkpoint_final[] = {"sealed", "failed", "errored", "canceled", NULL};
  static const char *const job_final[] = {"done", "failed", "errored", "canceled", NULL};
  bool checkpoint_over = state_is(api_text(checkpoint, "state"), checkpoint_final);
  if (!follow->drill_id)
    return checkpoint_over;
  const json_t *job = follow_job(checkpoint, follow->drill_id);
  return job && state_is(api_text(job, "state"), job_final);
}

/* What is told at the end: the checkpoint as it is; for a drill, with that drill's own outcome. */
static json_t *follow_result(const Follow *follow, const json_t *checkpoint) {
  json_t *result = json_copy((json_t *)checkpoint);
  const json_t *job = follow->drill_id ? follow_job(checkpoint, follow->drill_id) : NULL;
  if (!job)
    return result;
  const char *state = api_text(job, "state");
  json_object_set_new(result, "state", json_string(strcmp(state, "done") == 0 ? "sealed" : state));
  json_object_set(result, "error", json_object_get(job, "error") ? json_object_get(job, "error") : json_null());
  json_object_set(result, "finished_at", json_object_get(job, "finished_at"));
  int64_t started = clock_parse(api_text(job, "created_at")), finished = clock_parse(api_text(job, "finished_at"));
  if (started >= 0 && finished >= started)
    json_object_set_new(result, "seconds", json_real((double)(finished - started) / 1e6));
  return result;
}

static ExitCode follow_finish(const Cli *cli, const Follow *follow, const json_t *checkpoint) {
  CLEANUP(api_release) json_t *result = follow_result(follow, checkpoint);
  const char *state = api_text(result, "state");
  FILE *out = follow->aside ? stderr : stdout;
  if (cli->json && !follow->aside) {
    cli_print_json(checkpoint);
  } else {
    CLEANUP(buffer_release) Buffer line = {0};
    format_outcome(&line, follow->aside ? cli->color_err : cli->color_out, result);
    fprintf(out, "%s\n", buffer_text(&line));
    const char *size = api_text(result, "size");
    fprintf(out, "  %stag %s, %s%sid %s\n", follow->drill_id ? "a drill of " : "", api_text(result, "tag"), size,
            *size ? ", " : "", api_text(result, "id"));
    fflush(out);
  }
  if (strcmp(state, "sealed") == 0)
    return EXIT_DONE;
  follow_tell_error(cli, json_object_get(result, "error"));
  return strcmp(state, "failed") == 0 ? EXIT_FAILED : EXIT_ERRORED;
}

static ExitCode follow_detach(const Cli *cli, const Follow *follow) {
  cli_note(cli, "detached; %s goes on without this terminal", follow->drill_id ? "the drill" : "the checkpoint");
  fprintf(stderr, "  look at it: pgseal show %s\n  end it:     pgseal cancel %s\n", follow->id, follow->id);
  return EXIT_ERRORED;
}

ExitCode follow_run(Cli *cli, const Follow *follow) {
  Error err;
  CLEANUP_FREE char *path = memory_format("/api/v1/checkpoints/%s", follow->id);
  Progress *progress = progress_new(cli);
  int64_t away_since = 0;
  for (;;) {
    CLEANUP(api_release) json_t *checkpoint = NULL;
    Status status = api_call(cli, "GET", path, NULL, NULL, &checkpoint, &err);
    int64_t now = clock_monotonic_us();
    if (status == STATUS_OK) {
      if (away_since)
        progress_note(progress, "the coordinator is back");
      away_since = 0;
      progress_show(progress, checkpoint);
      if (follow_over(follow, checkpoint)) {
        progress_free(progress);
        return follow_finish(cli, follow, checkpoint);
      }
    } else if (status == ERR_UNAVAILABLE &&
               (!away_since || now - away_since < (int64_t)follow->patience_seconds * 1000000)) {
      if (!away_since)
        progress_note(progress, "the coordinator does not answer; waiting up to %d s for it", follow->patience_seconds);
      away_since = away_since ? away_since : now;
    } else if (status != ERR_CANCELED) {
      progress_free(progress);
      if (status == ERR_UNAVAILABLE)
        error_remedy(&err, "The checkpoint may still go on: start the coordinator and look with `pgseal show %s`.",
                     follow->id);
      return cli_fail(cli, &err);
    }
    if (follow_sleep(FOLLOW_POLL_MS)) {
      progress_free(progress);
      return follow_detach(cli, follow);
    }
  }
}
