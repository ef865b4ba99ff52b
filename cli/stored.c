#include "cli/stored.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/api.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/repository.h"

void stored_release(Stored *stored) {
  free(stored->prefix);
  manifest_release(&stored->manifest);
  decryption_key_free(stored->key);
  repository_close(stored->repository);
  json_decref(stored->manifest_json);
}

/* From the coordinator: where it lies, and whose signature counts. */
static Status stored_ask(Cli *cli, Stored *stored, Error *err) {
  CLEANUP(api_release) json_t *checkpoint = NULL;
  Status status = api_checkpoint(cli, stored->which, stored->database, &checkpoint, err);
  if (status != STATUS_OK)
    return status;
  if (!*api_text(checkpoint, "prefix") || !*api_text(checkpoint, "manifest_sha256")) {
    error_set(err, ERR_CONFLICT, "checkpoint %s is not stored (its state is %s): there is nothing to read",
              api_text(checkpoint, "id"), api_text(checkpoint, "state"));
    error_object(err, "%s", api_text(checkpoint, "id"));
    return err->status;
  }
  stored->prefix = memory_strdup(api_text(checkpoint, "prefix"));
  snprintf(stored->expected_sha256, sizeof stored->expected_sha256, "%s", api_text(checkpoint, "manifest_sha256"));
  if (strcmp(api_text(checkpoint, "state"), "sealed") != 0)
    cli_note(cli, "warning: this checkpoint is not sealed (its state is %s)", api_text(checkpoint, "state"));
  if (stored->public_key_path)
    return STATUS_OK;
  if (!text_unhex(api_text(checkpoint, "dump_public_key"), stored->public_key, PUBLIC_KEY_SIZE)) {
    error_set(err, ERR_PROTOCOL, "the coordinator does not know the key of agent '%s', which dumped this checkpoint",
              api_text(checkpoint, "dump_agent"));
    error_remedy(err, "Name the agent's public key yourself: --public-key agent.pub.");
    return err->status;
  }
  return STATUS_OK;
}

/* A directory, or a file that says where the repository is. */
static Status stored_repository(Stored *stored, Error *err) {
  struct stat info;
  if (stat(stored->repository_path, &info) != 0) { /* opening a directory would create it */
    error_set(err, ERR_NOT_FOUND, "there is no repository at %s", stored->repository_path);
    error_remedy(err, "Name the directory that the agents store into, or a file with their `repository:` "
                      "(docs/repository.md).");
    return err->status;
  }
  if (S_ISDIR(info.st_mode))
    return directory_repository_open(stored->repository_path, &stored->repository, err);
  RepositoryConfig config = {0};
  Status status = repository_config_load(stored->repository_path, &config, err);
  if (status == STATUS_OK)
    status = repository_config_open(&config, &stored->repository, err);
  repository_config_release(&config);
  return status;
}

typedef struct Manifests {
  const char *which; /* an id, or NULL: any */
  char *prefix;      /* of the last one; owned */
  size_t count;
} Manifests;

static bool note_manifest(void *user, const char *key, uint64_t size) {
  static const char name[] = "manifest.json.cms";
  Manifests *found = user;
  (void)size;
  const char *slash = strrchr(key, '/');
  if (strcmp(slash ? slash + 1 : key, name) != 0)
    return true;
  CLEANUP_FREE char *part = memory_format("/%s/", found->which ? found->which : "");
  if (found->which && !strstr(key, part))
    return true;
  free(found->prefix);
  found->prefix = memory_strndup(key, slash ? (size_t)(slash + 1 - key) : 0);
  found->count++;
  return true;
}

/* Nobody says where it is: it is the one that is there. */
static Status stored_discover(Stored *stored, Error *err) {
  Manifests found = {.which = stored->which};
  Status status = repository_list(stored->repository, "", note_manifest, &found, err);
  if (status == STATUS_OK && found.count == 1) {
    stored->prefix = found.prefix;
    return STATUS_OK;
  }
  free(found.prefix);
  if (status != STATUS_OK)
    return status;
  error_set(err, ERR_NOT_FOUND, "%s holds %s manifest.json.cms%s%s", repository_description(stored->repository),
            found.count ? "more than one" : "no", stored->which ? " of checkpoint " : "",
            stored->which ? stored->which : "");
  error_remedy(err, "Name the place with --prefix DATABASE/ID/attempt-N; without a coordinator, tags are not known.");
  return err->status;
}

Status stored_open(Cli *cli, Stored *stored, Error *err) {
  Status status = stored_repository(stored, err);
  if (status == STATUS_OK && !stored->alone)
    status = stored_ask(cli, stored, err);
  if (status == STATUS_OK && stored->public_key_path)
    status = signing_public_load(stored->public_key_path, stored->public_key, err);
  if (status == STATUS_OK)
    status = decryption_key_load(stored->key_path, stored->certificate_path, &stored->key, err);
  if (status != STATUS_OK)
    return status;
  if (!stored->prefix && stored->prefix_path)
    stored->prefix = memory_strdup(stored->prefix_path);
  if (!stored->prefix && (status = stored_discover(stored, err)) != STATUS_OK)
    return status;
  size_t length = strlen(stored->prefix);
  if (length > 0 && stored->prefix[length - 1] != '/') {
    char *slashed = memory_format("%s/", stored->prefix);
    free(stored->prefix);
    stored->prefix = slashed;
  }
  return STATUS_OK;
}

static Status stored_invalid(Error *err, const char *key, const char *what) {
  error_set(err, ERR_MANIFEST_INVALID, "%s: %s", key, what);
  error_object(err, "%s", key);
  return err->status;
}

/* The signature proves who wrote it; this, that it is the manifest of this place and describes one whole archive. */
static Status stored_check_manifest(const Stored *stored, const char *key, Error *err) {
  const Manifest *m = &stored->manifest;
  CLEANUP_FREE char *prefix = manifest_prefix(m->database, m->checkpoint_id, m->attempt);
  if (*stored->prefix && strcmp(prefix, stored->prefix) != 0)
    return stored_invalid(err, key, "this is the manifest of another checkpoint");
  uint64_t offset = 0;
  for (size_t i = 0; i < m->segment_count; i++) {
    if (m->segments[i].offset != offset || m->segments[i].plain_size > STORED_SEGMENT_LIMIT ||
        m->segments[i].size > STORED_SEGMENT_LIMIT)
      return stored_invalid(err, key, "its segments do not make one whole archive");
    offset += m->segments[i].plain_size;
  }
  if (offset != m->fingerprint.archive_size)
    return stored_invalid(err, key, "its segments are not as long as the archive");
  return STATUS_OK;
}

Status stored_manifest(Stored *stored, Error *err) {
  CLEANUP_FREE char *key = manifest_key(stored->prefix);
  Status status = document_get(stored->repository, key, "manifest", stored->public_key, stored->key,
                               &stored->manifest_json, stored->manifest_sha256, err);
  if (status != STATUS_OK)
    return status;
  if (stored->expected_sha256[0] && strcmp(stored->manifest_sha256, stored->expected_sha256) != 0)
    return stored_invalid(err, key, "it is not the manifest that the ledger recorded");
  status = manifest_from_json(stored->manifest_json, &stored->manifest, err);
  return status == STATUS_OK ? stored_check_manifest(stored, key, err) : status;
}

Status stored_segment(const Stored *stored, const char *key, const ManifestSegment *segment, Buffer *plain,
                      Error *err) {
  CLEANUP(buffer_release) Buffer object = {0};
  char sha256[SHA256_HEX_SIZE];
  Status status = repository_get(stored->repository, key, segment->size, &object, err);
  if (status == ERR_OBJECT_NOT_FOUND) {
    error_set(err, ERR_SEGMENT_MISSING, "%s is not in %s", key, repository_description(stored->repository));
    error_object(err, "%s", key);
  }
  if (status != STATUS_OK)
    return err->status;
  sha256_hex(object.data, object.size, sha256);
  bool same = object.size == segment->size && strcmp(sha256, segment->sha256) == 0;
  if (same) {
    status = segment_decode(stored->key, object.data, object.size, segment->plain_size, plain, err);
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

static void stored_progress(const Cli *cli, uint64_t done, uint64_t total, int64_t started_us, bool last) {
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

Status stored_stream(const Cli *cli, const Stored *stored, StoredSink *sink, void *user, Error *err) {
  const Manifest *m = &stored->manifest;
  int64_t started_us = clock_monotonic_us();
  Status status = STATUS_OK;
  for (size_t i = 0; i < m->segment_count && status == STATUS_OK; i++) {
    CLEANUP(buffer_release) Buffer plain = {0};
    CLEANUP_FREE char *key = manifest_segment_key(stored->prefix, i);
    stored_progress(cli, m->segments[i].offset, m->fingerprint.archive_size, started_us, false);
    status = stored_segment(stored, key, &m->segments[i], &plain, err);
    if (status == STATUS_OK)
      status = sink(user, plain.data, plain.size, err);
  }
  stored_progress(cli, 0, 0, started_us, true);
  return status;
}

bool stored_wanted(Cli *cli, Stored *stored, ExitCode *code) {
  stored->alone = stored->alone || stored->prefix_path;
  if (!stored->repository_path || !stored->key_path)
    *code = cli_usage(cli, "%s is missing", stored->repository_path ? "--key" : "--repository");
  else if (stored->alone && !stored->public_key_path)
    *code = cli_usage(cli, "without a coordinator, only you can say whose signature counts: --public-key is missing");
  else
    return true;
  return false;
}
