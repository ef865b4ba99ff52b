/* Where a fetched checkpoint goes: a file, standard output, a listing. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/fetch.h"
#include "cli/format.h"
#include "common/archive/seekable.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static void writer_free(SeekableWriter **writer) {
  seekable_writer_free(*writer);
}

static Status sink_seekable(void *user, const void *data, size_t size, Error *err) {
  return seekable_writer_feed(user, data, size, err);
}

static Status sink_stdout(void *user, const void *data, size_t size, Error *err) {
  (void)user;
  return file_write_all(STDOUT_FILENO, data, size, err);
}

static Status fetch_fill(const Cli *cli, const Fetch *fetch, int fd, Error *err) {
  CLEANUP(writer_free) SeekableWriter *writer = seekable_writer_new(fd);
  Status status = stored_stream(cli, &fetch->stored, sink_seekable, writer, err);
  return status == STATUS_OK ? seekable_writer_finish(writer, err) : status;
}

Status fetch_write_file(const Cli *cli, const Fetch *fetch, Error *err) {
  CLEANUP_FREE char *temporary = memory_format("%s.part-XXXXXX", fetch->output);
  CLEANUP_CLOSE int fd = mkostemp(temporary, O_CLOEXEC); /* 0600: production data in the clear */
  if (fd < 0) {
    error_set_errno(err, errno, "cannot create a file beside %s", fetch->output);
    error_object(err, "%s", fetch->output);
    return err->status;
  }
  Status status = fetch_fill(cli, fetch, fd, err);
  if (status == STATUS_OK && renameat2(AT_FDCWD, temporary, AT_FDCWD, fetch->output, RENAME_NOREPLACE) != 0) {
    int failed = errno;
    /* not every file system knows the flag; that nothing was there was checked before */
    if (failed != EINVAL || rename(temporary, fetch->output) != 0)
      status = error_set_errno(err, failed, "cannot rename to %s", fetch->output);
  }
  if (status != STATUS_OK) {
    unlink(temporary);
    return status;
  }
  char size[TEXT_SIZE_SIZE];
  cli_note(cli, "%s: %s, %zu tables; every segment is what the signed manifest says", fetch->output,
           text_size((int64_t)fetch->stored.manifest.fingerprint.archive_size, size),
           fetch->stored.manifest.fingerprint.table_count);
  return STATUS_OK;
}

Status fetch_write_stdout(const Cli *cli, const Fetch *fetch, Error *err) {
  return stored_stream(cli, &fetch->stored, sink_stdout, NULL, err);
}

Status fetch_write_roles(const Fetch *fetch, Error *err) {
  if (!fetch->stored.manifest.has_roles) {
    error_set(err, ERR_NOT_FOUND, "this checkpoint holds no roles");
    error_remedy(err, "Set `roles: all` for the database in agent.yaml; later checkpoints then hold them.");
    return err->status;
  }
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP_FREE char *key = manifest_roles_key(fetch->stored.prefix);
  Status status = stored_segment(&fetch->stored, key, &fetch->stored.manifest.roles, &plain, err);
  return status == STATUS_OK ? file_write_atomic(fetch->roles, 0600, plain.data, plain.size, err) : status;
}

static void clean(char *out, size_t size, const char *schema, const char *name) {
  CLEANUP_FREE char *text = memory_format("%s%s%s", schema, *schema ? "." : "", name);
  text_clean(text, out, size);
}

static int entry_order(const void *a, const void *b) {
  return strcmp(((const FingerprintEntry *)a)->desc, ((const FingerprintEntry *)b)->desc);
}

/* "TABLE 184, INDEX 310, ...": how many of each kind. */
static void fetch_print_kinds(const Fingerprint *fingerprint) {
  if (fingerprint->entry_count == 0)
    return;
  FingerprintEntry *sorted =
      memory_dup(fingerprint->entries, fingerprint->entry_count * sizeof *sorted); /* strings stay borrowed */
  qsort(sorted, fingerprint->entry_count, sizeof *sorted, entry_order);
  CLEANUP(buffer_release) Buffer line = {0};
  for (size_t i = 0, begin = 0; i < fingerprint->entry_count; i++)
    if (i + 1 == fingerprint->entry_count || strcmp(sorted[i].desc, sorted[i + 1].desc) != 0) {
      char kind[128];
      buffer_append_format(&line, "%s%s %zu", line.size ? ", " : "", text_clean(sorted[i].desc, kind, sizeof kind),
                           i + 1 - begin);
      begin = i + 1;
    }
  printf("entries: %s\n", buffer_text(&line));
  free(sorted);
}

void fetch_print(const Cli *cli, const Fetch *fetch) {
  if (cli->json) {
    cli_print_json(fetch->stored.manifest_json);
    return;
  }
  const Manifest *m = &fetch->stored.manifest;
  char text[512], size[TEXT_SIZE_SIZE];
  printf("checkpoint: %s\ndatabase: %s\n", m->checkpoint_id, m->database);
  printf("tag: %s\n", text_clean(m->tag, text, sizeof text));
  printf("server: PostgreSQL %s\n", text_clean(m->server_version, text, sizeof text));
  printf("archive: %s in %zu segments\n", text_size((int64_t)m->fingerprint.archive_size, size), m->segment_count);
  printf("roles: %s\n", m->has_roles ? "yes" : "no");
  fetch_print_kinds(&m->fingerprint);
  if (m->fingerprint.blob_count > 0)
    printf("large objects: %zu\n", m->fingerprint.blob_count);
  for (size_t i = 0; i < m->omission_count; i++) {
    clean(text, sizeof text, "", m->omissions[i].object);
    printf("left out: %s %s\n", m->omissions[i].kind, text);
  }
  printf("\n");
  CLEANUP(table_release) Table table = {.columns = 3};
  table_add(&table, "TABLE");
  table_add(&table, "ROWS");
  table_add(&table, "SIZE");
  for (size_t i = 0; i < m->fingerprint.table_count; i++) {
    const FingerprintTable *t = &m->fingerprint.tables[i];
    clean(text, sizeof text, t->schema, t->name);
    table_add(&table, "%s", text);
    table_add(&table, "%" PRId64, t->rows);
    table_add(&table, "%s", text_size(t->bytes, size));
  }
  table_print(&table, stdout, cli->color_out);
}
