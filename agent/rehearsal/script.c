#include "common/archive/script.h"

#include <stdlib.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static void add(Rehearsal *rehearsal, const RehearsalFile *file, const Script *script, double seconds,
                const Error *failure) {
  RehearsalStatement statement = {.file = file->name, .line = script->line, .seconds = seconds};
  statement.outline = script_outline(script->piece, script->size, REHEARSAL_OUTLINE_LIMIT);
  if (failure) {
    char clean[ERROR_MESSAGE_SIZE];
    statement.message = memory_strdup(text_clean(failure->message, clean, sizeof clean));
    (void)postgres_sqlstate(failure, statement.sqlstate);
  }
  rehearsal_statements_add(&rehearsal->statements, statement);
}

/* The migration's own failure is noted; only what keeps the rehearsal from telling anything is an error. */
static Status run_statement(Rehearsal *rehearsal, PGconn *session, const RehearsalFile *file, const Script *script,
                            Error *err) {
  CLEANUP_FREE char *sql = memory_strndup(script->piece, script->size);
  const PostgresWatch watch = {rehearsal_check_hook, rehearsal};
  int64_t started = clock_monotonic_us();
  Error failure;
  Status status = postgres_query_watched(session, NULL, &failure, sql, &watch);
  double seconds = (double)(clock_monotonic_us() - started) / 1e6;
  rehearsal->failed = status != STATUS_OK;
  if (!rehearsal->over && status != STATUS_OK) {
    Status checked = rehearsal_check(rehearsal, err);
    if (checked != STATUS_OK)
      return checked;
    if (status == ERR_DATABASE_LOST || status == ERR_DISK_FULL) {
      *err = failure;
      return drill_blame_cluster(&rehearsal->drill, err);
    }
  }
  add(rehearsal, file, script, seconds, status == STATUS_OK ? NULL : &failure);
  return STATUS_OK;
}

Status rehearsal_script_run(Rehearsal *rehearsal, Error *err) {
  const RehearsalRequest *request = &rehearsal->request;
  CLEANUP(postgres_close) PGconn *session = NULL;
  Status status = rehearsal_copy_connect(rehearsal, &session, err);
  for (size_t i = 0; status == STATUS_OK && i < request->file_count && !rehearsal->failed; i++) {
    Script script;
    script_open(&script, request->files[i].text, request->files[i].size);
    while (status == STATUS_OK && !rehearsal->failed && script_next(&script) == SCRIPT_STATEMENT) {
      status = run_statement(rehearsal, session, &request->files[i], &script, err);
      rehearsal->drill.progress.tables_done = (int64_t)rehearsal->statements.count;
      drill_report(&rehearsal->drill, false);
    }
  }
  PGTransactionStatusType transaction = session ? PQtransactionStatus(session) : PQTRANS_IDLE;
  rehearsal->unfinished = !rehearsal->failed && transaction != PQTRANS_IDLE;
  return status;
}
