/*
 * pgseal ledger rebuild: what the repository holds and the ledger does not know, put into the ledger; database by
 * database, by an agent that drills it. Again is fine.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/follow.h"
#include "cli/format.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { REBUILD_PATIENCE_SECONDS = 300, REBUILD_POLL_MS = 200, DATABASES_MOST = 1000 };

typedef struct Total {
  int64_t sealed, refused, errored;
  json_t *jobs; /* owned */
} Total;

static void total_release(Total *total) {
  json_decref(total->jobs);
}

/* ---- asking ---- */

static Status ask(Cli *cli, const char *database, bool dry_run, char **job, Error *err) {
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *body = json_pack("{s:b}", "rebuild", !dry_run);
  CLEANUP_FREE char *name = http_escape(database);
  CLEANUP_FREE char *path = memory_format("/api/v1/databases/%s/inventory", name);
  Status status = follow_request(cli, REBUILD_PATIENCE_SECONDS, "POST", path, body, NULL, &json, err);
  if (status == ERR_NOT_FOUND)
    api_suggest_database(cli, database, err);
  if (status == STATUS_OK)
    *job = memory_strdup(api_text(json, "job"));
  return status;
}

static bool is_over(const json_t *job) {
  const char *state = api_text(job, "state");
  return strcmp(state, "done") == 0 || strcmp(state, "errored") == 0 || strcmp(state, "failed") == 0 ||
         strcmp(state, "canceled") == 0;
}

static Status wait_for(Cli *cli, const char *id, json_t **job, Error *err) {
  CLEANUP_FREE char *path = memory_format("/api/v1/jobs/%s", id);
  for (;;) {
    Status status = follow_request(cli, REBUILD_PATIENCE_SECONDS, "GET", path, NULL, NULL, job, err);
    if (status != STATUS_OK || is_over(*job))
      return status;
    api_release(job);
    *job = NULL;
    if (follow_sleep(REBUILD_POLL_MS))
      return error_set(err, ERR_CANCELED, "not waited for any longer; it goes on: pgseal job show %s", id);
  }
}

/* ---- telling ---- */

static int64_t count_of(const json_t *job, const char *name) {
  return api_integer(json_object_get(json_object_get(job, "report"), "counts"), name);
}

static void print_refused(const json_t *report) {
  const json_t *refused = json_object_get(report, "refused"), *keys = json_object_get(report, "unknown_keys"), *item;
  size_t index;
  json_array_foreach(refused, index, item) {
    printf("  REFUSED %s (%s): %s\n", api_text(item, "object"), api_text(item, "reason"), api_text(item, "message"));
  }
  json_array_foreach(keys, index, item) {
    printf("  unknown key %s, agent %s: %" PRId64 " documents\n", api_text(item, "public_key"), api_text(item, "agent"),
           api_integer(item, "documents"));
  }
}

static void print_texts(const char *before, const json_t *list) {
  size_t index;
  const json_t *item;
  json_array_foreach(list, index, item) {
    printf("  %s%s\n", before, json_string_value(item) ? json_string_value(item) : "");
  }
}

static void print_job(const Cli *cli, const json_t *job, bool dry_run) {
  const json_t *report = json_object_get(job, "report");
  const char *verb = dry_run ? "would be " : "";
  bool done = strcmp(api_text(job, "state"), "done") == 0;
  printf("%s%s%s: %" PRId64 " in the repository, %" PRId64 " known; %ssealed %" PRId64 ", failed %" PRId64
         ", unproven %" PRId64 ", unfinished %" PRId64 "\n",
         cli_style(cli->color_out, done ? STYLE_GOOD : STYLE_BAD), api_text(job, "database"), cli_reset(cli->color_out),
         count_of(job, "checkpoints"), count_of(job, "known"), verb, count_of(job, "proven"), count_of(job, "failed"),
         count_of(job, "unproven"), count_of(job, "unfinished"));
  print_refused(report);
  if (count_of(job, "proofs_left_out") > 0)
    printf("  %" PRId64 " older proofs were not looked at\n", count_of(job, "proofs_left_out"));
  print_texts("belongs to no checkpoint: ", json_object_get(report, "strays"));
  fflush(stdout);
  follow_tell_error(cli, json_object_get(job, "error"));
}

static void print_lost(const json_t *jobs) {
  const json_t *list = json_object_get(json_object_get(json_array_get(jobs, 0), "report"), "lost");
  if (json_array_size(list) > 0)
    printf("\nNo repository knows, and so it is lost, unless the ledger had it already:\n");
  print_texts("- ", list);
}

static void add(Total *total, json_t *job) {
  total->sealed += count_of(job, "proven");
  total->refused += count_of(job, "refused");
  total->errored += strcmp(api_text(job, "state"), "done") != 0;
  json_array_append(total->jobs, job);
}

/* ---- all of it ---- */

/* Those named, or all that there are. */
static Status list_databases(Cli *cli, const char *const *names, json_t **out, Error *err) {
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP(api_release) json_t *list = json_array();
  for (size_t i = 0; i < DATABASES_MOST && names[i]; i++)
    json_array_append_new(list, json_string(names[i]));
  const json_t *database;
  size_t index;
  if (json_array_size(list) == 0) {
    Status status = api_databases(cli, &json, err);
    if (status != STATUS_OK)
      return status;
    const json_t *all = json_object_get(json, "databases");
    json_array_foreach(all, index, database) {
      json_array_append_new(list, json_string(api_text(database, "name")));
    }
  }
  *out = STEAL(list);
  return STATUS_OK;
}

/* All are asked for first, so that as many agents as there are can be at it. */
static Status run(Cli *cli, const json_t *databases, bool dry_run, Total *total, Error *err) {
  CLEANUP(api_release) json_t *ids = json_array();
  const json_t *item;
  size_t index;
  json_array_foreach(databases, index, item) {
    CLEANUP_FREE char *id = NULL;
    Status status = ask(cli, json_string_value(item), dry_run, &id, err);
    if (status != STATUS_OK)
      return status;
    json_array_append_new(ids, json_string(id));
  }
  json_array_foreach(ids, index, item) {
    CLEANUP(api_release) json_t *job = NULL;
    Status status = wait_for(cli, json_string_value(item), &job, err);
    if (status != STATUS_OK)
      return status;
    add(total, job);
    if (!cli->json)
      print_job(cli, job, dry_run);
  }
  return STATUS_OK;
}

ExitCode command_ledger_rebuild(Cli *cli, int argc, char **argv) {
  const char *names[DATABASES_MOST + 1] = {NULL};
  bool dry_run = false;
  const Option options[] = {{"dry-run", OPTION_FLAG, &dry_run, NULL, "only say what there is; nothing is written"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, DATABASES_MOST, names, &code))
    return code;
  Error err;
  CLEANUP(total_release) Total total = {.jobs = json_array()};
  CLEANUP(api_release) json_t *databases = NULL;
  follow_prepare(cli);
  Status status = list_databases(cli, names, &databases, &err);
  if (status == STATUS_OK)
    status = run(cli, databases, dry_run, &total, &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json) {
    CLEANUP(api_release)
    json_t *json =
        json_pack("{s:b, s:b, s:I, s:I, s:O}", "ok", total.errored + total.refused == 0, "rebuild", !dry_run, "sealed",
                  (json_int_t)total.sealed, "refused", (json_int_t)total.refused, "jobs", total.jobs);
    cli_print_json(json);
  } else {
    print_lost(total.jobs);
  }
  return total.errored > 0 ? EXIT_ERRORED : total.refused > 0 ? EXIT_FAILED : EXIT_DONE;
}
