#include "cli/recovery.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/http.h"
#include "cli/progress.h"
#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"

enum { PATIENCE_SECONDS = 60 };

bool recovery_is_over(const json_t *job) {
  static const char *const final[] = {"done", "failed", "errored", "canceled"};
  for (size_t i = 0; i < ARRAY_SIZE(final); i++)
    if (strcmp(api_text(job, "state"), final[i]) == 0)
      return true;
  return false;
}

/* Progress is drawn of a list of jobs. */
static void show_progress(Progress *progress, json_t *job) {
  CLEANUP(api_release) json_t *around = json_pack("{s:[O]}", "jobs", job);
  progress_show(progress, around);
}

static void tell_approval(Progress *progress, const json_t *job, bool *told) {
  if (*told || strcmp(api_text(job, "approval"), "needed") != 0)
    return;
  *told = true;
  progress_note(progress, "it waits for a second person's approval: `pgseal job approve %s`, with another token",
                api_text(job, "id"));
}

typedef struct Waiting {
  Progress *progress;
  bool (*enough)(const json_t *job);
  int64_t away_since;
  bool canceled, told_approval;
} Waiting;

static Status look(Cli *cli, const char *path, Waiting *waiting, json_t **job, bool *over, Error *err) {
  CLEANUP(api_release) json_t *json = NULL;
  Status status = api_call(cli, "GET", path, NULL, NULL, &json, err);
  int64_t now = clock_monotonic_us();
  *over = false;
  if (status == ERR_CANCELED)
    return STATUS_OK; /* a signal, which is looked at next */
  if (status == ERR_UNAVAILABLE &&
      (!waiting->away_since || now - waiting->away_since < (int64_t)PATIENCE_SECONDS * 1000000)) {
    if (!waiting->away_since)
      progress_note(waiting->progress, "the coordinator does not answer; waiting up to %d s for it", PATIENCE_SECONDS);
    waiting->away_since = waiting->away_since ? waiting->away_since : now;
    return STATUS_OK;
  }
  if (status != STATUS_OK)
    return status;
  if (waiting->away_since)
    progress_note(waiting->progress, "the coordinator is back");
  waiting->away_since = 0;
  show_progress(waiting->progress, json);
  tell_approval(waiting->progress, json, &waiting->told_approval);
  *over = recovery_is_over(json) || (waiting->enough && waiting->enough(json));
  if (*over)
    *job = json_incref(json);
  return STATUS_OK;
}

static void cancel(Cli *cli, const char *path, Waiting *waiting) {
  CLEANUP_FREE char *cancel_path = memory_format("%s/cancel", path);
  CLEANUP(api_release) json_t *json = NULL;
  Error err;
  if (waiting->canceled)
    return;
  waiting->canceled = true;
  if (api_call(cli, "POST", cancel_path, NULL, NULL, &json, &err) == STATUS_OK)
    progress_note(waiting->progress, "canceling; waiting for its end (once more Ctrl-C leaves it alone)");
  else
    progress_note(waiting->progress, "it could not be canceled: %s", err.message);
}

static Status wait_for(Cli *cli, const char *path, Waiting *waiting, json_t **job, Error *err) {
  for (;;) {
    bool over;
    Status status = look(cli, path, waiting, job, &over, err);
    if (status != STATUS_OK || (over && !waiting->canceled))
      return status;
    if (over)
      return error_set(err, ERR_CANCELED, "interrupted");
    if (!follow_sleep(FOLLOW_POLL_MS))
      continue;
    if (waiting->canceled) {
      error_set(err, ERR_CANCELED, "interrupted; the job is being canceled");
      error_remedy(err, "Look whether it has ended: `pgseal jobs`.");
      return ERR_CANCELED;
    }
    cancel(cli, path, waiting);
  }
}

Status recovery_ask(Cli *cli, const char *path, const json_t *body, char **job_path, Error *err) {
  CLEANUP(api_release) json_t *accepted = NULL;
  Id key = id_new();
  Status status = follow_request(cli, PATIENCE_SECONDS, "POST", path, body, key.text, &accepted, err);
  if (status == STATUS_OK)
    *job_path = memory_format("/api/v1/jobs/%s", api_text(accepted, "id"));
  return status;
}

Status recovery_wait(Cli *cli, const char *job_path, bool (*enough)(const json_t *job), json_t **job, Error *err) {
  Waiting waiting = {.progress = progress_new(cli), .enough = enough};
  Status status = wait_for(cli, job_path, &waiting, job, err);
  progress_free(waiting.progress);
  return status;
}

Status recovery_run(Cli *cli, const char *path, const json_t *body, json_t **job, Error *err) {
  CLEANUP_FREE char *job_path = NULL;
  Status status = recovery_ask(cli, path, body, &job_path, err);
  return status == STATUS_OK ? recovery_wait(cli, job_path, NULL, job, err) : status;
}

char *recovery_tag(const char *prefix) {
  time_t now = (time_t)(clock_wall_us() / 1000000);
  struct tm utc;
  char text[32];
  gmtime_r(&now, &utc);
  strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return memory_format("%s-%s", prefix, text);
}

ExitCode recovery_checkpoint(Cli *cli, const char *database, const char *tag, char **id) {
  Error err;
  Id key = id_new();
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *body = json_pack("{s:s, s:s, s:b}", "database", database, "tag", tag, "wait", 0);
  if (!body)
    return cli_usage(cli, "the database's name is not text");
  if (follow_request(cli, PATIENCE_SECONDS, "POST", "/api/v1/checkpoints", body, key.text, &json, &err) != STATUS_OK) {
    api_suggest_database(cli, database, &err);
    return cli_fail(cli, &err);
  }
  *id = memory_strdup(api_text(json, "id"));
  const Follow follow = {.id = *id, .patience_seconds = PATIENCE_SECONDS, .aside = true};
  return follow_run(cli, &follow);
}

ExitCode recovery_end(const Cli *cli, const json_t *job) {
  const char *state = api_text(job, "state");
  if (strcmp(state, "done") == 0)
    return EXIT_DONE;
  const char *kind = api_text(job, "kind");
  cli_note(cli, "the %s of %s ended %s", strcmp(kind, "rehearse") == 0 ? "rehearsal" : kind, api_text(job, "database"),
           state);
  const json_t *error = json_object_get(job, "error");
  const char *code = api_text(error, "code");
  follow_tell_error(cli, error);
  if (strcmp(code, "not_found") == 0 || strcmp(code, "invalid_argument") == 0)
    return EXIT_USAGE; /* a name on the command line, which only the agent could tell */
  return strcmp(state, "failed") == 0 ? EXIT_FAILED : EXIT_ERRORED;
}

ExitCode recovery_verdict(const Cli *cli, const json_t *job) {
  const json_t *report = json_object_get(job, "report");
  const char *damage = api_text(report, "damage");
  int64_t unread = api_integer(report, "unread");
  if (strcmp(damage, "lost") == 0)
    return EXIT_DAMAGED;
  if (strcmp(damage, "none") != 0 && strcmp(damage, "changed") != 0)
    cli_note(cli, "the plan does not say whether something is lost");
  else if (unread > 0)
    cli_note(cli, "%" PRId64 " table%s could not be compared", unread, unread == 1 ? "" : "s");
  else
    return EXIT_DONE;
  return EXIT_ERRORED;
}
