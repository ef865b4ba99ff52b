/*
 * A checkpoint as it lies in a repository, opened by somebody who believes nothing in it: the manifest must be signed
 * by the agent that dumped, and every object must be what the manifest says. For fetch, verify and key check.
 */
#ifndef PGSEAL_CLI_STORED_H
#define PGSEAL_CLI_STORED_H

#include "cli/cli.h"
#include "common/manifest/manifest.h"

#define STORED_SEGMENT_LIMIT ((uint64_t)4 << 30)

typedef struct Stored {
  /* asked for; borrowed */
  const char *which, *database, *repository_path, *prefix_path, *key_path, *certificate_path, *public_key_path;
  bool alone; /* no coordinator is asked; then public_key_path is needed */
  /* found; owned */
  char *prefix;                          /* with its trailing '/', or "" where objects lie without their folders */
  char expected_sha256[SHA256_HEX_SIZE]; /* of the manifest, as the ledger has it; "" without a coordinator */
  char manifest_sha256[SHA256_HEX_SIZE]; /* of the object that was read */
  uint8_t public_key[PUBLIC_KEY_SIZE];
  DecryptionKey *key;
  Repository *repository;
  json_t *manifest_json;
  Manifest manifest;
} Stored;

/* The options that say which checkpoint, where, and by what key: for the commands' tables. */
#define STORED_OPTIONS(stored)                                                                                         \
  {"repository", OPTION_TEXT, &(stored).repository_path, "DIR|FILE",                                                   \
   "the repository's directory, or a file that says where it is"},                                                     \
      {"key", OPTION_TEXT, &(stored).key_path, "KEY.pem", "private key of one of the recipients"},                     \
      {"certificate", OPTION_TEXT, &(stored).certificate_path, "CRT.pem",                                              \
       "its certificate, if KEY.pem does not hold it too"},                                                            \
      {"database", OPTION_TEXT, &(stored).database, "NAME", "whose tag it is, where several databases have it"},       \
      {"prefix", OPTION_TEXT, &(stored).prefix_path, "PREFIX",                                                         \
       "DATABASE/ID/attempt-N in the repository: no coordinator is asked"},                                            \
  {                                                                                                                    \
    "public-key", OPTION_TEXT, &(stored).public_key_path, "PEM", "of the agent that dumped, instead of asking for it"  \
  }

/* Are these enough? False: end with *code, the usage error is told. A prefix means that no coordinator is asked. */
bool stored_wanted(Cli *cli, Stored *stored, ExitCode *code);
/* Repository, keys, and (unless `alone`) where the coordinator says it lies. The manifest comes next. */
Status stored_open(Cli *cli, Stored *stored, Error *err) MUST_CHECK;
/* Reads it; signed, of this place, describing one whole archive, and the one that the ledger recorded. */
Status stored_manifest(Stored *stored, Error *err) MUST_CHECK;
/* One object, checked against the manifest before and after decryption; *plain is replaced. */
Status stored_segment(const Stored *stored, const char *key, const ManifestSegment *segment, Buffer *plain,
                      Error *err) MUST_CHECK;
typedef Status StoredSink(void *user, const void *data, size_t size, Error *err);
/* The whole archive, in order, into sink; with progress on a terminal. */
Status stored_stream(const Cli *cli, const Stored *stored, StoredSink *sink, void *user, Error *err) MUST_CHECK;
void stored_release(Stored *stored); /* for CLEANUP() */

#endif
