/* The parts of `pgseal fetch`. */
#ifndef PGSEAL_CLI_FETCH_H
#define PGSEAL_CLI_FETCH_H

#include "cli/cli.h"
#include "common/manifest/manifest.h"

#define FETCH_SEGMENT_LIMIT ((uint64_t)4 << 30)

typedef struct Fetch {
  /* asked for; borrowed */
  const char *which, *database, *repository_path, *key_path, *certificate_path, *public_key_path, *output, *roles;
  bool to_stdout, list;
  /* found; owned */
  char *prefix;                          /* with its trailing '/' once open */
  char expected_sha256[SHA256_HEX_SIZE]; /* of the manifest, as the ledger has it; "" without a coordinator */
  uint8_t public_key[PUBLIC_KEY_SIZE];
  DecryptionKey *key;
  Repository *repository;
  json_t *manifest_json;
  Manifest manifest;
} Fetch;

typedef Status FetchSink(void *user, const void *data, size_t size, Error *err);

/* One segment, checked against the manifest before and after decryption; *plain is replaced. */
Status fetch_segment(const Fetch *fetch, const char *key, const ManifestSegment *segment, Buffer *plain,
                     Error *err) MUST_CHECK;
/* The whole archive, in order, into sink. */
Status fetch_stream(const Cli *cli, const Fetch *fetch, FetchSink *sink, void *user, Error *err) MUST_CHECK;

Status fetch_write_file(const Cli *cli, const Fetch *fetch, Error *err) MUST_CHECK;
Status fetch_write_stdout(const Cli *cli, const Fetch *fetch, Error *err) MUST_CHECK;
Status fetch_write_roles(const Fetch *fetch, Error *err) MUST_CHECK;
void fetch_print(const Cli *cli, const Fetch *fetch); /* what is in it */

#endif
