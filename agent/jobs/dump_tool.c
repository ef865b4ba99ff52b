#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { TOOL_PIPE_SIZE = 1 << 20, TOOL_MESSAGE_SIZE = 1400 };

Status dump_tool_start(DumpRun *run, const char *const *arguments, Process *process, Error *err) {
  CLEANUP_FREE char *path = memory_format("%s/%s", run->source.tools_dir, arguments[0]);
  size_t count = 1;
  while (arguments[count])
    count++;
  CLEANUP_FREE const char **argv = memory_alloc((count + 2) * sizeof *argv);
  memcpy(argv, arguments, count * sizeof *argv);
  argv[0] = path;
  argv[count] = "--no-password";
  ProcessOptions options = {.argv = argv, .env = (const char *const *)run->environment, .pipe_stdout = true};
  Status status = process_start(&options, process, err);
  if (status == STATUS_OK)
    (void)fcntl(process->stdout_fd, F_SETPIPE_SZ, TOOL_PIPE_SIZE); /* fewer, larger reads; a smaller pipe works too */
  return status;
}

Status dump_tool_read(DumpRun *run, Process *process, void *data, size_t size, size_t *got, Error *err) {
  for (;;) {
    Status status = dump_run_check(run, err);
    if (status != STATUS_OK)
      return status;
    struct pollfd wait = {.fd = process->stdout_fd, .events = POLLIN};
    int ready = poll(&wait, 1, DUMP_TICK_MS);
    if (ready == 0)
      dump_run_report(run, false);
    if (ready == 0 || (ready < 0 && errno == EINTR))
      continue;
    ssize_t count = ready < 0 ? -1 : read(process->stdout_fd, data, size);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return error_set_errno(err, errno, "reading what the dump tool writes");
    *got = (size_t)count;
    return STATUS_OK;
  }
}

Status dump_tool_finish(Process *process, const char *tool, Error *err) {
  int exit_code = 0;
  Status status = process_wait(process, &exit_code, err);
  if (status != STATUS_OK || exit_code == 0)
    return status;
  return dump_tool_classify(tool, exit_code, buffer_text(&process->errors), err);
}

typedef struct Rule {
  const char *needle;
  Status status;
  const char *remedy; /* NULL: the code's own */
} Rule;

/* In order of precedence. The tools run in the C locale; the server's messages may be in its own language. */
static const Rule rules[] = {
    {"server version mismatch", ERR_VERSION_MISMATCH, NULL},
    {"row-level security", ERR_ROW_SECURITY, NULL},
    {"lock timeout", ERR_LOCK_TIMEOUT, NULL},
    {"permission denied", ERR_TABLE_UNREADABLE, NULL},
    {"conflict with recovery", ERR_DATABASE_LOST,
     "The standby's replay ended the dump: raise max_standby_streaming_delay there, set hot_standby_feedback, or dump "
     "from the primary."},
    {"out of shared memory", ERR_QUERY,
     "The database has more tables than the server has room for locks: raise max_locks_per_transaction."},
    {"statement timeout", ERR_TIMEOUT, NULL},
    {"user request", ERR_TIMEOUT, "Somebody canceled pg_dump's statement on the server; ask again."},
    {"server closed the connection", ERR_DATABASE_LOST, NULL},
    {"terminating connection", ERR_DATABASE_LOST, NULL},
    {"could not receive data from server", ERR_DATABASE_LOST, NULL},
    {"could not send data to server", ERR_DATABASE_LOST, NULL},
    {"no connection to the server", ERR_DATABASE_LOST, NULL},
    {"connection not open", ERR_DATABASE_LOST, NULL},
    {"SSL connection has been closed", ERR_DATABASE_LOST, NULL},
    {"SSL SYSCALL error", ERR_DATABASE_LOST, NULL},
    {"invalid snapshot identifier", ERR_DATABASE_LOST, NULL}, /* its session is gone */
    {"could not import the requested snapshot", ERR_DATABASE_LOST, NULL},
    {"too many clients", ERR_DATABASE_UNREACHABLE, "The server has no free connection: raise max_connections."},
    {"too many connections", ERR_DATABASE_UNREACHABLE,
     "Raise the connection limit of pgseal's role or of the database."},
    {"remaining connection slots", ERR_DATABASE_UNREACHABLE,
     "The server has no free connection: raise max_connections."},
    {"database system is", ERR_DATABASE_UNREACHABLE, NULL}, /* starting up, shutting down, in recovery mode */
    {"authentication failed", ERR_DATABASE_REFUSED, NULL},
    {"pg_hba.conf", ERR_DATABASE_REFUSED, NULL},
    {"connection to server", ERR_DATABASE_UNREACHABLE, NULL},
    {"invalid page", ERR_DUMP_FAILED,
     "The source's storage is damaged: see the server's log, and restore an older copy."},
    {"could not read block", ERR_DUMP_FAILED, "The source's storage is damaged: see the server's log."},
    {"missing chunk number", ERR_DUMP_FAILED, "The source's TOAST data is damaged: see the server's log."},
    {"unexpected chunk", ERR_DUMP_FAILED, "The source's TOAST data is damaged: see the server's log."},
};

static const char query_marker[] = "Query was: ";
static const char lock_marker[] = "Query was: LOCK TABLE ";

/* The lines that tell of the failure: no warnings, and queries (which hold names) apart from messages. */
static void split_lines(const char *errors, const char *tool, Buffer *messages, Buffer *queries) {
  CLEANUP_FREE char *warning = memory_format("%s: warning:", tool);
  for (const char *line = errors; *line;) {
    size_t size = strcspn(line, "\n");
    bool is_query = memmem(line, size, query_marker, strlen(query_marker)) != NULL;
    if (size > 0 && strncmp(line, warning, strlen(warning)) != 0) {
      Buffer *to = is_query ? queries : messages;
      if (to->size > 0)
        buffer_append_text(to, "; ");
      buffer_append(to, line, size);
    }
    line += size + (line[size] == '\n');
  }
}

/* "permission denied for table orders; ..." -> "orders"; a lock's query -> its table, if it is of one. */
static void find_object(const char *messages, const char *queries, Status status, Error *err) {
  const char *start = NULL;
  size_t size = 0;
  if (status == ERR_LOCK_TIMEOUT && (start = strstr(queries, lock_marker))) {
    start += strlen(lock_marker);
    const char *end = strstr(start, " IN ACCESS SHARE MODE");
    size = end ? (size_t)(end - start) : strlen(start);
  } else if (status == ERR_TABLE_UNREADABLE && (start = strstr(messages, "permission denied for "))) {
    start += strlen("permission denied for ");
    size = strcspn(start, ";");
  } else if (status == ERR_ROW_SECURITY && (start = strstr(messages, "policy for table "))) {
    start += strlen("policy for table ");
    size = strcspn(start, ";");
  }
  if (!start)
    return;
  CLEANUP_FREE char *object = memory_strndup(start, size < ERROR_OBJECT_SIZE ? size : ERROR_OBJECT_SIZE - 1);
  char clean[ERROR_OBJECT_SIZE];
  error_object(err, "%s", text_show(object, clean, sizeof clean));
}

static const Rule *find_rule(const char *messages) {
  for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
    if (strstr(messages, rules[i].needle))
      return &rules[i];
  return NULL;
}

Status dump_tool_classify(const char *tool, int exit_code, const char *errors, Error *err) {
  CLEANUP(buffer_release) Buffer messages = {0}, queries = {0};
  split_lines(errors, tool, &messages, &queries);
  const char *said = buffer_text(&messages), *asked = buffer_text(&queries);
  char clean[TOOL_MESSAGE_SIZE];
  size_t length = strlen(said);
  text_show(length < sizeof clean ? said : said + length - sizeof clean + 1, clean, sizeof clean);

  const Rule *rule = find_rule(said);
  Status status = rule ? rule->status : ERR_DUMP_FAILED;
  if (!rule && exit_code > 128) {
    error_set(err, ERR_TOOL, "%s was killed by signal %d: %s", tool, exit_code - 128, clean);
    error_remedy(err, "Look for the reason on the agent's host: memory limit, or somebody's kill.");
    return err->status;
  }
  /* Privileges were checked before: what fails LOCK TABLE in a language not known here is its timeout. */
  if (!rule && strstr(asked, lock_marker))
    status = ERR_LOCK_TIMEOUT;
  error_set(err, status, "%s failed (exit code %d): %s", tool, exit_code, *clean ? clean : "it did not say why");
  if (rule && rule->remedy)
    error_remedy(err, "%s", rule->remedy);
  find_object(said, asked, status, err);
  return err->status;
}

void dump_tool_warnings(DumpRun *run, const char *tool, const char *errors) {
  CLEANUP_FREE char *marker = memory_format("%s: warning: ", tool);
  CLEANUP(buffer_release) Buffer warning = {0};
  for (const char *line = errors; *line;) {
    size_t size = strcspn(line, "\n");
    bool starts = strncmp(line, marker, strlen(marker)) == 0;
    if (starts && warning.size > 0)
      dump_run_omit(run, "warning", "", buffer_text(&warning));
    if (starts)
      buffer_clear(&warning);
    else if (warning.size > 0)
      buffer_append_text(&warning, " ");
    if (starts || warning.size > 0) /* details and hints follow their warning */
      buffer_append(&warning, starts ? line + strlen(marker) : line, starts ? size - strlen(marker) : size);
    line += size + (line[size] == '\n');
  }
  if (warning.size > 0)
    dump_run_omit(run, "warning", "", buffer_text(&warning));
}
