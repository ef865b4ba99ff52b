/*
 * pgseal fetch: a checkpoint back as a standard archive. The repository is read directly and nothing in it is
 * believed: the manifest must be signed by the agent that dumped, and every segment must be what the manifest says.
 */
#include "cli/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/api.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/repository.h"

static void fetch_release(Fetch *fetch) {
  free(fetch->prefix);
  manifest_release(&fetch->manifest);
  decryption_key_free(fetch->key);
  repository_close(fetch->repository);
  json_decref(fetch->manifest_json);
}

/* From the coordinator: where it lies, and whose signature counts. */
static Status fetch_ask(Cli *cli, Fetch *fetch, Error *err) {
  CLEANUP(api_release) json_t *checkpoint = NULL;
  Status status = api_checkpoint(cli, fetch->which, fetch->database, &checkpoint, err);
  if (status != STATUS_OK)
    return status;
  if (!*api_text(checkpoint, "prefix") || !*api_text(checkpoint, "manifest_sha256")) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is not stored (its state is %s): there is nothing to fetch",
              api_text(checkpoint, "id"), api_text(checkpoint, "state"));
    error_object(err, "%s", api_text(checkpoint, "id"));
    return err->status;
  }
  fetch->prefix = memory_strdup(api_text(checkpoint, "prefix"));
  snprintf(fetch->expected_sha256, sizeof fetch->expected_sha256, "%s", api_text(checkpoint, "manifest_sha256"));
  if (strcmp(api_text(checkpoint, "state"), "sealed") != 0)
    cli_note(cli, "warning: this checkpoint is not sealed (its state is %s)", api_text(checkpoint, "state"));
  if (fetch->public_key_path)
    return STATUS_OK;
  if (!text_unhex(api_text(checkpoint, "dump_public_key"), fetch->public_key, PUBLIC_KEY_SIZE)) {
    error_set(err, ERR_PROTOCOL, "the coordinator does not know the key of agent '%s', which dumped this checkpoint",
              api_text(checkpoint, "dump_agent"));
    error_remedy(err, "Name the agent's public key yourself: --public-key agent.pub.");
    return err->status;
  }
  return STATUS_OK;
}

/* A directory, or a file that says where the repository is. */
static Status fetch_repository(Fetch *fetch, Error *err) {
  struct stat info;
  if (stat(fetch->repository_path, &info) != 0) { /* opening a directory would create it */
    error_set(err, ERR_NOT_FOUND, "there is no repository at %s", fetch->repository_path);
    error_remedy(err, "Name the directory that the agents store into, or a file with their `repository:` "
                      "(docs/repository.md).");
    return err->status;
  }
  if (S_ISDIR(info.st_mode))
    return directory_repository_open(fetch->repository_path, &fetch->repository, err);
  RepositoryConfig config = {0};
  Status status = repository_config_load(fetch->repository_path, &config, err);
  if (status == STATUS_OK)
    status = repository_config_open(&config, &fetch->repository, err);
  repository_config_release(&config);
  return status;
}

static Status fetch_open(Cli *cli, Fetch *fetch, Error *err) {
  Status status = fetch_repository(fetch, err);
  if (status == STATUS_OK && fetch->which)
    status = fetch_ask(cli, fetch, err);
  if (status == STATUS_OK && fetch->public_key_path)
    status = signing_public_load(fetch->public_key_path, fetch->public_key, err);
  if (status == STATUS_OK)
    status = decryption_key_load(fetch->key_path, fetch->certificate_path, &fetch->key, err);
  if (status != STATUS_OK)
    return status;
  size_t length = strlen(fetch->prefix);
  if (length == 0 || fetch->prefix[length - 1] != '/') {
    char *slashed = memory_format("%s/", fetch->prefix);
    free(fetch->prefix);
    fetch->prefix = slashed;
  }
  return STATUS_OK;
}

static Status fetch_invalid(Error *err, const char *key, const char *what) {
  error_set(err, ERR_MANIFEST_INVALID, "%s: %s", key, what);
  error_object(err, "%s", key);
  return err->status;
}

/* The signature proves who wrote it; this, that it is the manifest of this place and describes one whole archive. */
static Status fetch_check_manifest(const Fetch *fetch, const char *key, Error *err) {
  const Manifest *m = &fetch->manifest;
  CLEANUP_FREE char *prefix = manifest_prefix(m->database, m->checkpoint_id, m->attempt);
  if (strcmp(prefix, fetch->prefix) != 0)
    return fetch_invalid(err, key, "this is the manifest of another checkpoint");
  uint64_t offset = 0;
  for (size_t i = 0; i < m->segment_count; i++) {
    if (m->segments[i].offset != offset || m->segments[i].plain_size > FETCH_SEGMENT_LIMIT ||
        m->segments[i].size > FETCH_SEGMENT_LIMIT)
      return fetch_invalid(err, key, "its segments do not make one whole archive");
    offset += m->segments[i].plain_size;
  }
  if (offset != m->fingerprint.archive_size)
    return fetch_invalid(err, key, "its segments are not as long as the archive");
  return STATUS_OK;
}

static Status fetch_manifest(Fetch *fetch, Error *err) {
  CLEANUP_FREE char *key = manifest_key(fetch->prefix);
  char sha256[SHA256_HEX_SIZE];
  Status status = document_get(fetch->repository, key, "manifest", fetch->public_key, fetch->key, &fetch->manifest_json,
                               sha256, err);
  if (status != STATUS_OK)
    return status;
  if (fetch->expected_sha256[0] && strcmp(sha256, fetch->expected_sha256) != 0)
    return fetch_invalid(err, key, "it is not the manifest that the ledger recorded");
  status = manifest_from_json(fetch->manifest_json, &fetch->manifest, err);
  return status == STATUS_OK ? fetch_check_manifest(fetch, key, err) : status;
}

Status fetch_segment(const Fetch *fetch, const char *key, const ManifestSegment *segment, Buffer *plain, Error *err) {
  CLEANUP(buffer_release) Buffer stored = {0};
  char sha256[SHA256_HEX_SIZE];
  Status status = repository_get(fetch->repository, key, segment->size, &stored, err);
  if (status == ERR_OBJECT_NOT_FOUND) {
    error_set(err, ERR_SEGMENT_MISSING, "%s is not in %s", key, repository_description(fetch->repository));
    error_object(err, "%s", key);
  }
  if (status != STATUS_OK)
    return err->status;
  sha256_hex(stored.data, stored.size, sha256);
  bool same = stored.size == segment->size && strcmp(sha256, segment->sha256) == 0;
  if (same) {
    status = segment_decode(fetch->key, stored.data, stored.size, segment->plain_size, plain, err);
    if (status != STATUS_OK) {
      error_object(err, "%s", key);
      return error_prefix(err, "%s", key);
    }
    sha256_hex(plain->data, plain->size, sha256);
    same = plain->size == segment->plain_size && strcmp(sha256, segment->plain_sha256) == 0;
  }
  if (same)
    return STATUS_OK;
  error_set(err, ERR_SEGMENT_CORRUPT, "%s is not what its manifest says", key);
  error_object(err, "%s", key);
  return err->status;
}

static void fetch_progress(const Cli *cli, uint64_t done, uint64_t total, int64_t started_us, bool last) {
  char a[TEXT_SIZE_SIZE], b[TEXT_SIZE_SIZE], c[TEXT_SIZE_SIZE];
  double seconds = (double)(clock_monotonic_us() - started_us + 1) / 1e6;
  if (!cli->live)
    return;
  fprintf(stderr, "\r\x1b[2K");
  if (!last)
    fprintf(stderr, "%s of %s  %s/s", text_size((int64_t)done, a), text_size((int64_t)total, b),
            text_size((int64_t)((double)done / seconds), c));
  fflush(stderr);
}

Status fetch_stream(const Cli *cli, const Fetch *fetch, FetchSink *sink, void *user, Error *err) {
  const Manifest *m = &fetch->manifest;
  int64_t started_us = clock_monotonic_us();
  Status status = STATUS_OK;
  for (size_t i = 0; i < m->segment_count && status == STATUS_OK; i++) {
    CLEANUP(buffer_release) Buffer plain = {0};
    CLEANUP_FREE char *key = manifest_segment_key(fetch->prefix, i);
    fetch_progress(cli, m->segments[i].offset, m->fingerprint.archive_size, started_us, false);
    status = fetch_segment(fetch, key, &m->segments[i], &plain, err);
    if (status == STATUS_OK)
      status = sink(user, plain.data, plain.size, err);
  }
  fetch_progress(cli, 0, 0, started_us, true);
  return status;
}

static ExitCode fetch_run(Cli *cli, Fetch *fetch) {
  Error err;
  Status status = fetch_open(cli, fetch, &err);
  if (status == STATUS_OK)
    status = fetch_manifest(fetch, &err);
  if (status == STATUS_OK && fetch->roles)
    status = fetch_write_roles(fetch, &err);
  if (status == STATUS_OK && fetch->to_stdout)
    status = fetch_write_stdout(cli, fetch, &err);
  if (status == STATUS_OK && fetch->output)
    status = fetch_write_file(cli, fetch, &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  if (fetch->list)
    fetch_print(cli, fetch);
  return EXIT_DONE;
}

ExitCode command_fetch(Cli *cli, int argc, char **argv) {
  CLEANUP(fetch_release) Fetch fetch = {0};
  const char *prefix = NULL;
  const Option options[] = {
      {"repository", OPTION_TEXT, &fetch.repository_path, "DIR|FILE",
       "the repository's directory, or a file that says where it is"},
      {"key", OPTION_TEXT, &fetch.key_path, "KEY.pem", "private key of one of the recipients"},
      {"certificate", OPTION_TEXT, &fetch.certificate_path, "CRT.pem",
       "its certificate, if KEY.pem does not hold it too"},
      {"output", OPTION_TEXT, &fetch.output, "FILE", "write a seekable archive there; it must not exist yet"},
      {"stdout", OPTION_FLAG, &fetch.to_stdout, NULL, "write the archive to standard output, as it was dumped"},
      {"list", OPTION_FLAG, &fetch.list, NULL, "print what the manifest says is in it"},
      {"roles", OPTION_TEXT, &fetch.roles, "FILE", "write the roles' SQL there; it must not exist yet"},
      {"database", OPTION_TEXT, &fetch.database, "NAME", "whose tag it is, where several databases have it"},
      {"prefix", OPTION_TEXT, &prefix, "PREFIX", "DATABASE/ID/attempt-N in the repository: no coordinator is asked"},
      {"public-key", OPTION_TEXT, &fetch.public_key_path, "PEM", "of the agent that dumped, instead of asking for it"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 1, &fetch.which, &code))
    return code;
  if (!fetch.which == !prefix)
    return cli_usage(cli, "name the checkpoint: either ID or TAG, or --prefix");
  if (!fetch.repository_path || !fetch.key_path)
    return cli_usage(cli, "%s is missing", fetch.repository_path ? "--key" : "--repository");
  if (prefix && !fetch.public_key_path)
    return cli_usage(cli,
                     "--prefix needs --public-key: without a coordinator, only you can say whose signature counts");
  if (!fetch.output && !fetch.to_stdout && !fetch.list && !fetch.roles)
    return cli_usage(cli, "say what to do with it: --output FILE, --stdout, --list or --roles FILE");
  if (fetch.to_stdout && (fetch.output || fetch.list))
    return cli_usage(cli, "--stdout excludes --output and --list");
  if (fetch.to_stdout && isatty(STDOUT_FILENO))
    return cli_usage(cli, "an archive is nothing for a terminal: redirect it, or use --output FILE");
  const char *files[] = {fetch.output, fetch.roles};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++)
    if (files[i] && file_exists(files[i]))
      return cli_usage(cli, "%s exists already", files[i]);
  fetch.prefix = prefix ? memory_strdup(prefix) : NULL;
  return fetch_run(cli, &fetch);
}
