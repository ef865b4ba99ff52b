#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { COMPARE_CHUNK = 1 << 20 };

static void compare_free_digest(RowDigest **digest) {
  row_digest_free(*digest);
}

static void redump_progress(void *user, const FingerprintProgress *progress) {
  DrillRun *run = user;
  run->progress.tables_done = progress->tables_done;
  run->progress.tables_total = progress->tables_total;
  run->progress.rows = progress->rows;
  run->progress.bytes = progress->bytes;
  text_clean(progress->table ? progress->table : "", run->progress_table, sizeof run->progress_table);
  drill_report(run, false);
}

static Status redump_stream(DrillRun *run, DrillTool *tool, Error *err) {
  FingerprintHooks hooks = {.user = run, .progress = redump_progress};
  FingerprintBuilder *builder = run->rebuilder = fingerprint_builder_new(&hooks);
  CLEANUP_FREE uint8_t *chunk = memory_alloc(COMPARE_CHUNK);
  Status status;
  size_t got;
  while ((status = drill_tool_read(run, tool, chunk, COMPARE_CHUNK, &got, err)) == STATUS_OK && got > 0) {
    status = fingerprint_builder_feed(builder, chunk, got, err);
    if (status != STATUS_OK)
      return status;
  }
  int exit_code = 0;
  if (status == STATUS_OK)
    status = drill_tool_wait(run, tool, &exit_code, err);
  if (status != STATUS_OK)
    return status;
  if (exit_code != 0) {
    CLEANUP(buffer_release) Buffer errors = {0};
    status = drill_tool_errors(tool, &errors, err);
    if (status != STATUS_OK)
      return status;
    char said[ERROR_MESSAGE_SIZE / 2];
    text_show(buffer_text(&errors), said, sizeof said);
    error_set(err, ERR_TOOL, "pg_dump of the restored copy ended with exit code %d: %s", exit_code, said);
    return drill_blame_cluster(run, err);
  }
  status = fingerprint_builder_finish(builder, &run->copy, err);
  run->copy_whole = status == STATUS_OK;
  return status;
}

/* "--encoding=LATIN1": the database's own, whatever a role's settings, restored with it, would make of it. */
static Status encoding_argument(DrillRun *run, char **out, Error *err) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  Status status = drill_connect(run, run->database_name, &session, err);
  if (status == STATUS_OK)
    *out = memory_format("--encoding=%s", PQparameterStatus(session, "server_encoding"));
  return status;
}

/* The same pg_dump with the same settings as for the source (dump_stream.c). */
Status drill_redump(DrillRun *run, Error *err) {
  CLEANUP(drill_tool_release) DrillTool tool = {0};
  CLEANUP_FREE char *dbname = drill_dbname(run->database_name), *encoding = NULL;
  Status status = encoding_argument(run, &encoding, err);
  if (status != STATUS_OK)
    return status;
  const char *arguments[] = {"pg_dump", "--format=custom", "--compress=0", "--no-sync", encoding, dbname, NULL};
  status = drill_tool_start(run, &tool, arguments, false, true, err);
  return status == STATUS_OK ? redump_stream(run, &tool, err) : status;
}

static Status reread_line(void *digest, const char *line, size_t size, Error *err) {
  (void)err;
  row_digest_feed(digest, line, size);
  return STATUS_OK;
}

/* Reads the restored table with the source's own column list: the same rows, or not? */
static Status reread_table(DrillRun *run, PGconn *session, const FingerprintTable *table, bool *equal, Error *err) {
  char *schema = PQescapeIdentifier(session, table->schema, strlen(table->schema));
  char *name = PQescapeIdentifier(session, table->name, strlen(table->name));
  CLEANUP_FREE char *sql =
      memory_format("COPY %s.%s %s TO STDOUT", schema ? schema : "", name ? name : "", table->columns);
  PQfreemem(schema);
  PQfreemem(name);
  CLEANUP(compare_free_digest) RowDigest *digest = row_digest_new();
  Status status = postgres_copy_out(session, sql, reread_line, digest, &(PostgresWatch){drill_check_hook, run}, err);
  if (status != STATUS_OK)
    return error_prefix(err, "reading %s.%s again", table->schema, table->name);
  int64_t rows, bytes;
  uint8_t found[DIGEST_SIZE];
  status = row_digest_finish(digest, false, &rows, &bytes, found, err);
  if (status != STATUS_OK)
    return status;
  *equal = rows == table->rows && bytes == table->bytes && memcmp(found, table->digest, DIGEST_SIZE) == 0;
  return STATUS_OK;
}

/* A restore puts inherited columns first: such tables are read again in the original order. */
static Status resolve_columns(DrillRun *run, Error *err) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < run->differences.count;) {
    const Difference *difference = &run->differences.items[i++];
    if (difference->kind != DIFFERENCE_COLUMNS || difference->table >= run->source.table_count)
      continue;
    if (!session && (status = drill_connect(run, run->database_name, &session, err)) != STATUS_OK)
      break;
    /* rows as pg_dump read them: in the database's own encoding */
    if (PQsetClientEncoding(session, PQparameterStatus(session, "server_encoding")) != 0)
      return error_set(err, ERR_QUERY, "the database's encoding is refused: %s", PQerrorMessage(session));
    const FingerprintTable *table = &run->source.tables[difference->table];
    bool equal = false;
    status = reread_table(run, session, table, &equal, err);
    if (status == STATUS_OK && equal) {
      drill_note(run, "%s.%s has its columns in another order in the copy, and was read again in the original one",
                 table->schema, table->name);
      difference_list_remove(&run->differences, --i);
    }
  }
  return status == STATUS_OK ? STATUS_OK : drill_blame_cluster(run, err);
}

static Status differs(DrillRun *run, Error *err) {
  const Difference *first = &run->differences.items[0];
  bool other_tool = strcmp(run->source.dump_version, run->copy.dump_version) != 0;
  error_set(err, ERR_ROUND_TRIP_DIFFERS, "%s: %s", first->object, first->detail);
  if (run->differences.count > 1)
    error_set(err, ERR_ROUND_TRIP_DIFFERS, "%s: %s (and %zu more differences)", first->object, first->detail,
              run->differences.count - 1);
  if (other_tool)
    error_remedy(err,
                 "The source was dumped by pg_dump %s, the copy by %s, which may be all there is to it: use the same "
                 "minor version on both agents and drill again.",
                 run->source.dump_version, run->copy.dump_version);
  error_object(err, "%s", first->object);
  return err->status;
}

Status drill_differences(DrillRun *run, Error *err) {
  fingerprint_compare(&run->source, &run->copy, &run->differences);
  return resolve_columns(run, err);
}

Status drill_compare(DrillRun *run, Error *err) {
  if (strcmp(run->source.dump_version, run->copy.dump_version) != 0)
    drill_note(run, "the source was dumped by pg_dump %s, the copy by %s", run->source.dump_version,
               run->copy.dump_version);
  if (strcmp(run->source.server_version, run->copy.server_version) != 0)
    drill_note(run, "the source's server is %s, the drill's %s", run->source.server_version, run->copy.server_version);
  Status status = drill_differences(run, err);
  if (status != STATUS_OK || run->differences.count == 0)
    return status;
  return differs(run, err);
}
