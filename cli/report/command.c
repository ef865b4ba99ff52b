/* pgseal report: what was proven in a period, for people and for auditors. */
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/http.h"
#include "common/base/program.h"
#include "cli/report/period.h"
#include "cli/report/print.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/base/text.h"

enum { REPORT_SECONDS = 600 };

typedef struct Wish {
  PeriodWish period;
  OptionList databases;
  const char *owner, *environment;
  const char *json, *html, *pdf; /* files */
} Wish;

static void wish_release(Wish *wish) {
  free(wish->databases.items);
}

/* ---- asking ---- */

static char *path_of(const Wish *wish, int64_t from_us, int64_t to_us) {
  char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
  CLEANUP(buffer_release) Buffer names = {0};
  for (size_t i = 0; i < wish->databases.count; i++)
    buffer_append_format(&names, "%s%s", i ? "," : "", wish->databases.items[i]);
  const char *key = wish->databases.count > 0 ? "&database="
                    : wish->owner             ? "&owner="
                    : wish->environment       ? "&environment="
                                              : "";
  const char *value = wish->databases.count > 0 ? buffer_text(&names) : wish->owner ? wish->owner : wish->environment;
  CLEANUP_FREE char *name = http_escape(value ? value : "");
  return memory_format("/api/v1/reports?from=%s&to=%s%s%s", clock_format(from_us, from), clock_format(to_us, to), key,
                       name);
}

/* The document as it was sent: what is signed is not cleaned for a terminal. */
static Status ask(Cli *cli, const Wish *wish, char **text, Error *err) {
  int64_t from_us, to_us;
  CLEANUP(api_release) json_t *json = NULL;
  Status status = period_take(&wish->period, &from_us, &to_us, err);
  if (!status)
    status = api_connect(cli, err);
  if (status)
    return status;
  CLEANUP_FREE char *path = path_of(wish, from_us, to_us);
  HttpRequest request = {.method = "GET", .path = path, .timeout_seconds = REPORT_SECONDS};
  status = http_call(cli->http, &request, &json, err);
  if (status)
    return status;
  CLEANUP_FREE char *dumped = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  if (!dumped)
    return error_set(err, ERR_INTERNAL, "the report cannot be written as JSON");
  *text = memory_format("%s\n", dumped);
  return STATUS_OK;
}

/* ---- printing ---- */

/* pgseal-pdf reads the document itself. */
static Status write_pdf(const char *path, const char *text, ViewTrust trust, Error *err) {
  static const char *const trusts[] = {"key", "server", "named", "none"};
  CLEANUP_FREE char *program = program_path("pgseal-pdf");
  CLEANUP(process_release) Process process = {0};
  const char *const argv[] = {program, trusts[trust], path, NULL};
  ProcessOptions options = {.argv = argv, .pipe_stdin = true};
  int exit_code = 0;
  sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
  Status status = process_start(&options, &process, err);
  if (status) {
    error_remedy(err, "Install pgseal-pdf beside pgseal; or print the page that --html writes.");
    return status;
  }
  Error broken; /* then it says itself why it ended */
  status = file_write_all(process.stdin_fd, text, strlen(text), &broken);
  Status waited = process_wait(&process, &exit_code, err);
  if (waited)
    return waited;
  if (exit_code == 0 && !status)
    return STATUS_OK;
  return error_set(err, ERR_TOOL, "no PDF was made: %s", exit_code ? buffer_text(&process.errors) : broken.message);
}

static Status write_html(const char *path, const View *view, Error *err) {
  CLEANUP(buffer_release) Buffer page = {0};
  view_html(view, &page);
  return file_write_atomic(path, 0644, page.data, page.size, err);
}

static Status print(Cli *cli, const Wish *wish, const char *text, const ReportFile *file, ViewTrust trust, Error *err) {
  CLEANUP(view_release) View view = {0};
  Status status = STATUS_OK;
  view_make(file, trust, &view);
  bool to_stdout = wish->json && strcmp(wish->json, "-") == 0;
  if (wish->json && !to_stdout)
    status = file_write_atomic(wish->json, 0644, text, strlen(text), err);
  if (!status && wish->html)
    status = write_html(wish->html, &view, err);
  if (!status && wish->pdf)
    status = write_pdf(wish->pdf, text, trust, err);
  if (status)
    return status;
  if (to_stdout)
    fputs(text, stdout);
  else if (!wish->json && !wish->html && !wish->pdf)
    view_terminal(&view, cli->color_out);
  else if (trust == TRUST_NONE)
    cli_note(cli, "the report is not signed: the coordinator has no `signing_key`");
  return STATUS_OK;
}

static ExitCode check_wish(const Cli *cli, const Wish *wish) {
  if (period_problem(&wish->period))
    return cli_usage(cli, "%s", period_problem(&wish->period));
  if ((wish->databases.count > 0) + (wish->owner != NULL) + (wish->environment != NULL) > 1)
    return cli_usage(cli, "either --database, --owner or --environment");
  return EXIT_DONE;
}

ExitCode command_report(Cli *cli, int argc, char **argv) {
  CLEANUP(wish_release) Wish wish = {0};
  const Option options[] = {
      PERIOD_OPTIONS(&wish.period),
      {"database", OPTION_LIST, &wish.databases, "NAME", "of this database only; may be given again"},
      {"owner", OPTION_TEXT, &wish.owner, "TEAM", "of the databases of this owner only"},
      {"environment", OPTION_TEXT, &wish.environment, "NAME", "of the databases of this environment only"},
      {"pdf", OPTION_TEXT, &wish.pdf, "FILE", "write it as PDF"},
      {"html", OPTION_TEXT, &wish.html, "FILE", "write it as one HTML page that prints well"},
      {"json", OPTION_TEXT, &wish.json, "FILE", "write the signed document itself; - is stdout"},
  };
  ExitCode code;
  Error err;
  CLEANUP_FREE char *text = NULL;
  CLEANUP(report_file_release) ReportFile file = {0};
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  code = check_wish(cli, &wish);
  if (code != EXIT_DONE)
    return code;
  Status status = ask(cli, &wish, &text, &err);
  if (!status)
    status = report_read(text, strlen(text), &file, &err);
  if (!status)
    status = report_check(file.report, &err);
  ViewTrust trust = json_is_null(file.signature) ? TRUST_NONE : TRUST_SERVER;
  if (!status && trust == TRUST_SERVER)
    status = report_verify(&file, file.key, &err);
  if (!status)
    status = print(cli, &wish, text, &file, trust, &err);
  if (status == ERR_NOT_FOUND && wish.databases.count == 1)
    api_suggest_database(cli, wish.databases.items[0], &err);
  return status ? cli_fail(cli, &err) : EXIT_DONE;
}

/* ---- checking ---- */

static void tell(const Cli *cli, const ReportFile *file, bool with_key) {
  char from[VIEW_TEXT_SIZE], to[VIEW_TEXT_SIZE], key[PUBLIC_KEY_HEX_SIZE], about[128];
  const json_t *of = json_object_get(file->report, "of"),
               *drills = json_object_get(json_object_get(file->report, "totals"), "drills");
  text_hex(file->key, sizeof file->key, key);
  if (cli->json) {
    CLEANUP(api_release)
    json_t *json = json_pack("{s:b, s:b, s:s, s:I, s:I}", "ok", 1, "key_checked", with_key, "public_key", key,
                             "from_us", (json_int_t)api_integer(file->report, "from_us"), "to_us",
                             (json_int_t)api_integer(file->report, "to_us"));
    cli_print_json(json);
    return;
  }
  text_clean(*api_text(of, "name") ? api_text(of, "name") : "the fleet", about, sizeof about);
  printf("The report of %s, %s to %s UTC: its signature is good, and its numbers follow from its rows.\n", about,
         view_time(api_integer(file->report, "from_us"), from), view_time(api_integer(file->report, "to_us"), to));
  printf("%" PRId64 " drills proven, %" PRId64 " failed, %" PRId64 " errored.\n", api_integer(drills, "proven"),
         api_integer(drills, "failed"), api_integer(drills, "errored"));
  if (with_key)
    printf("It is by the key that was given: %s\n", key);
  else
    printf("Whose key %s is was not checked: anybody can sign with a key of their own. --key FILE checks it.\n", key);
}

ExitCode command_report_verify(Cli *cli, int argc, char **argv) {
  const char *path = NULL, *key_path = NULL;
  const Option options[] = {
      {"key", OPTION_TEXT, &key_path, "KEY.pub",
       "the coordinator's public key (PEM); without it, whose it is stays open"},
      {"json", OPTION_FLAG, &cli->json, NULL, "print JSON"},
  };
  ExitCode code;
  Error err;
  CLEANUP(buffer_release) Buffer text = {0};
  CLEANUP(report_file_release) ReportFile file = {0};
  uint8_t key[PUBLIC_KEY_SIZE];
  if (!cli_parse(cli, options, ARRAY_SIZE(options), false, argc, argv, 1, 1, &path, &code))
    return code;
  Status status = file_read(path, REPORT_FILE_LIMIT, &text, &err);
  if (!status && key_path)
    status = signing_public_load(key_path, key, &err);
  if (status)
    return cli_fail(cli, &err);
  status = report_read((const char *)text.data, text.size, &file, &err);
  if (!status)
    status = report_verify(&file, key_path ? key : file.key, &err);
  if (!status)
    status = report_check(file.report, &err);
  if (!status) {
    memcpy(file.key, key_path ? key : file.key, sizeof file.key);
    tell(cli, &file, key_path != NULL);
    return EXIT_DONE;
  }
  cli_fail(cli, &err);
  return EXIT_FAILED;
}
