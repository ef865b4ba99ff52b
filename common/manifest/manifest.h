/*
 * Manifest: the signed description of a checkpoint; Proof: the signed result of a drill. Both are JSON,
 * stored as `<name>.json.cms` (zstd -> CMS like a segment) beside a detached signature over the stored
 * bytes, `<name>.json.cms.sig` (JSON: {"algorithm":"Ed25519","public_key":hex,"signature":hex}). The
 * signature is put first; the .cms object is the commit point.
 *
 * Keys of one attempt, under prefix "<database>/<checkpoint-id>/attempt-<n>/":
 *   roles.sql.zst.cms, 000000.zst.cms, 000001.zst.cms, ..., manifest.json.cms[.sig], proofs/<drill-id>.json.cms[.sig]
 *
 * JSON layout is versioned ("version": 1) and documented in docs/formats.md. Strings are owned by the structs.
 */
#ifndef PGSEAL_COMMON_MANIFEST_MANIFEST_H
#define PGSEAL_COMMON_MANIFEST_MANIFEST_H

#include "common/archive/compare.h"
#include "common/archive/fingerprint.h"
#include "common/crypto/digest.h"
#include "common/crypto/segment.h"
#include "common/crypto/signing.h"
#include "common/repository/repository.h"

typedef struct ManifestSegment {
  uint64_t offset;                    /* of its first plaintext byte in the archive */
  uint64_t plain_size;                /* bytes */
  uint64_t size;                      /* bytes stored */
  char sha256[SHA256_HEX_SIZE];       /* of the stored object */
  char plain_sha256[SHA256_HEX_SIZE]; /* of the plaintext */
} ManifestSegment;

typedef struct ManifestOmission { /* what a restore will not bring back */
  char *kind;   /* foreign_table_data, subscription, role_passwords, unlogged_data, extension_table_data,
                   unreadable_schema, roles, ... */
  char *object; /* or "" */
  char *detail;
} ManifestOmission;

typedef struct Manifest {
  char *checkpoint_id, *database, *tag, *agent;
  int attempt;
  int64_t started_us, finished_us; /* wall clock */
  char *server_version, *dump_version, *pgseal_version;
  int server_major;
  char *database_name;     /* in the source cluster */
  char *bootstrap_role;    /* name of the source cluster's role with oid 10 */
  char *snapshot;          /* exported snapshot id */
  char *lsn;               /* WAL position near the snapshot, or "" */
  char *collation_version; /* of the database, or "" */
  /* "" where the server does not say, or the manifest is of a pgseal that did not ask: */
  char *encoding, *collation_provider /* libc, icu, builtin */, *collation /* its name */;
  char *collation_actual; /* the version that its library has, whatever the database was made with */
  bool has_roles;
  ManifestSegment roles; /* offset 0; valid if has_roles */
  ManifestSegment *segments;
  size_t segment_count;
  char **recipients; /* certificate fingerprints, hex */
  size_t recipient_count;
  ManifestOmission *omissions;
  size_t omission_count;
  Fingerprint fingerprint;
} Manifest;

void manifest_release(Manifest *manifest);
json_t *manifest_to_json(const Manifest *manifest);
Status manifest_from_json(const json_t *json, Manifest *out, Error *err) MUST_CHECK; /* hostile input */

typedef struct ProofDifference {
  char *kind, *object, *detail, *remedy;
} ProofDifference;

typedef struct Proof {
  char *drill_id, *checkpoint_id, *database, *tag, *agent;
  Outcome outcome; /* only proven and failed are ever stored; errored and canceled make no proof */
  char manifest_sha256[SHA256_HEX_SIZE]; /* of the stored manifest object that was read back */
  int64_t started_us, finished_us;
  char *server_version, *dump_version, *image, *engine, *pgseal_version; /* of the drill's own cluster and tools */
  int64_t tables, rows, bytes, entries, blobs;                           /* compared */
  char fingerprint_sha256[SHA256_HEX_SIZE];
  json_t *assertions; /* array of {"name","ok"}; owned */
  json_t *stages;     /* object of stage -> seconds; owned */
  Error error;        /* why it failed; status STATUS_OK if proven */
  ProofDifference *differences;
  size_t difference_count;
  char **notes; /* benign facts: minor versions differ, columns re-read in the original order, ... */
  size_t note_count;
} Proof;

void proof_release(Proof *proof);
json_t *proof_to_json(const Proof *proof);
Status proof_from_json(const json_t *json, Proof *out, Error *err) MUST_CHECK;

/* Keys. All return a new string the caller frees. */
char *manifest_prefix(const char *database, const char *checkpoint_id, int attempt); /* with trailing '/' */
char *manifest_segment_key(const char *prefix, size_t index);
char *manifest_roles_key(const char *prefix);
char *manifest_key(const char *prefix);
char *proof_key(const char *prefix, const char *drill_id);

/* A signed JSON document in the repository, as described above. purpose: "manifest" or "proof".
 * On success sha256_hex is that of the stored .cms object. */
Status document_put(Repository *repository, const char *key, const json_t *json, const char *purpose,
                    const SigningKey *signer, const Recipients *recipients, char sha256_hex_out[SHA256_HEX_SIZE],
                    Error *err) MUST_CHECK;
/* Reads, checks the signature by `public_key`, decrypts, parses. New reference in *json. Bad signature:
 * ERR_MANIFEST_INVALID or ERR_PROOF_INVALID by purpose; absent: ERR_SEGMENT_MISSING. */
Status document_get(Repository *repository, const char *key, const char *purpose,
                    const uint8_t public_key[PUBLIC_KEY_SIZE], const DecryptionKey *key_file, json_t **json,
                    char sha256_hex_out[SHA256_HEX_SIZE], Error *err) MUST_CHECK;

/* The same in parts, for who passes documents on. What is absent is left empty in *signature, and an error of *object.
 */
Status document_fetch(Repository *repository, const char *key, size_t limit, Buffer *object, Buffer *signature,
                      Error *err) MUST_CHECK;
/* Is it a signature file (hostile input)? public_key: the key that it names, a hint for people; or NULL. */
bool document_signature(const void *data, size_t size, uint8_t signature[SIGNATURE_SIZE],
                        uint8_t public_key[PUBLIC_KEY_SIZE]);
/* Decrypts and parses. New reference in *json. key: its name, for errors. */
Status document_open(const char *key, const char *purpose, const Buffer *object, const DecryptionKey *key_file,
                     json_t **json, Error *err) MUST_CHECK;
/* The signature over `data` as every document has it: {"algorithm", "public_key", "signature"}. New reference. */
Status document_sign(const SigningKey *signer, const char *purpose, const void *data, size_t size, json_t **signature,
                     Error *err) MUST_CHECK;

/* The statement an agent makes to the coordinator about a drill, signed with purpose "verdict": canonical text
 * "checkpoint=<id>\ndrill=<id>\nmanifest=<hex>\nproof=<hex>\noutcome=<name>\n". Returns a new string. */
char *verdict_statement(const char *checkpoint_id, const char *drill_id, const char *manifest_sha256,
                        const char *proof_sha256, Outcome outcome);

#endif
