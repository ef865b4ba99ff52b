/*
 * pgseal verify: whoever doubts a proof checks it. Signatures, every object's digests, the archive's fingerprint,
 * manifest and proofs are held against each other; nothing that the coordinator or the repository says is believed.
 */
#include "cli/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static void verify_release(Verify *verify) {
  stored_release(&verify->stored);
  free(verify->drill_keys.items);
  free(verify->trusted);
  json_decref(verify->checks);
}

static void free_builder(FingerprintBuilder **builder) {
  fingerprint_builder_free(*builder);
}

void verify_note(const Cli *cli, Verify *verify, bool ok, const char *check, const char *format, ...) {
  va_list arguments;
  char detail[1024], clean[1024];
  va_start(arguments, format);
  vsnprintf(detail, sizeof detail, format, arguments);
  va_end(arguments);
  text_clean(detail, clean, sizeof clean);
  json_array_append_new(verify->checks, json_pack("{s:s, s:b, s:s}", "check", check, "ok", ok, "detail", clean));
  verify->bad += !ok;
  if (!cli->json)
    printf("%s%-4s%s  %-11s  %s\n", cli_style(cli->color_out, ok ? STYLE_GOOD : STYLE_BAD), ok ? "ok" : "BAD",
           cli_reset(cli->color_out), check, clean);
  fflush(stdout);
}

bool verify_failed(const Cli *cli, Verify *verify, const char *check, const Error *err) {
  if (error_outcome(err->status) != OUTCOME_FAILED && err->status != ERR_PROOF_INVALID)
    return false;
  verify_note(cli, verify, false, check, "%s", err->message);
  return true;
}

/* The names of keys, so that they can be compared with what people know. */
static Status verify_manifest(const Cli *cli, Verify *verify, Error *err) {
  Stored *stored = &verify->stored;
  Status status = stored_manifest(stored, err);
  if (status != STATUS_OK)
    return status;
  const Manifest *m = &stored->manifest;
  char hex[PUBLIC_KEY_HEX_SIZE], when[CLOCK_TEXT_SIZE];
  text_hex(stored->public_key, PUBLIC_KEY_SIZE, hex);
  verify_note(cli, verify, true, "manifest", "checkpoint %s of %s, tag %s, of %s", m->checkpoint_id, m->database,
              m->tag, clock_format(m->finished_us, when));
  verify_note(cli, verify, true, "signature", "by agent %s, key %.16s... (%s)", m->agent, hex,
              stored->public_key_path ? stored->public_key_path : "as the coordinator says");
  if (stored->expected_sha256[0])
    verify_note(cli, verify, true, "ledger", "it is the manifest that the ledger recorded");
  return STATUS_OK;
}

static Status feed(void *user, const void *data, size_t size, Error *err) {
  return fingerprint_builder_feed(user, data, size, err);
}

static void verify_fingerprint(const Cli *cli, Verify *verify, const Fingerprint *found) {
  const Fingerprint *expected = &verify->stored.manifest.fingerprint;
  CLEANUP(difference_list_release) DifferenceList list = {0};
  uint8_t a[DIGEST_SIZE], b[DIGEST_SIZE];
  fingerprint_digest(expected, a);
  fingerprint_digest(found, b);
  fingerprint_compare(expected, found, &list);
  if (memcmp(a, b, DIGEST_SIZE) == 0 && list.count == 0)
    verify_note(cli, verify, true, "fingerprint", "%zu tables, %" PRId64 " rows, %zu large objects, %zu other entries",
                found->table_count, found->rows, found->blob_count, found->entry_count);
  else
    verify_note(cli, verify, false, "fingerprint", "the archive is not what the manifest says%s%s",
                list.count ? ": " : "", list.count ? list.items[0].object : "");
}

static Status verify_archive(const Cli *cli, Verify *verify, Error *err) {
  const Stored *stored = &verify->stored;
  CLEANUP(free_builder) FingerprintBuilder *builder = fingerprint_builder_new(NULL);
  CLEANUP(fingerprint_release) Fingerprint found = {0};
  Status status = stored_stream(cli, stored, feed, builder, err);
  if (status == STATUS_OK)
    status = fingerprint_builder_finish(builder, &found, err);
  if (status != STATUS_OK)
    return status;
  char size[TEXT_SIZE_SIZE];
  verify_note(cli, verify, true, "segments", "%zu, %s of archive: each decrypts to what the manifest says",
              stored->manifest.segment_count, text_size((int64_t)stored->manifest.fingerprint.archive_size, size));
  verify_fingerprint(cli, verify, &found);
  return STATUS_OK;
}

static Status verify_roles(const Cli *cli, Verify *verify, Error *err) {
  const Stored *stored = &verify->stored;
  if (!stored->manifest.has_roles)
    return STATUS_OK;
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP_FREE char *key = manifest_roles_key(stored->prefix);
  Status status = stored_segment(stored, key, &stored->manifest.roles, &plain, err);
  if (status == STATUS_OK)
    verify_note(cli, verify, true, "roles", "%zu bytes of SQL", plain.size);
  return status;
}

static Status verify_trust(Cli *cli, Verify *verify, Error *err) {
  Status status = STATUS_OK;
  uint8_t key[PUBLIC_KEY_SIZE];
  for (size_t i = 0; status == STATUS_OK && i < verify->drill_keys.count; i++) {
    verify->trusted = memory_resize(verify->trusted, verify->trusted_count + 1, sizeof *verify->trusted);
    status = signing_public_load(verify->drill_keys.items[i], verify->trusted[verify->trusted_count++], err);
  }
  if (status != STATUS_OK || verify->drill_keys.count > 0 || verify->stored.alone)
    return status;
  CLEANUP(api_release) json_t *json = NULL;
  status = api_get(cli, &json, err, "/api/v1/agents");
  const json_t *agents = json_object_get(json, "agents"), *agent;
  size_t index;
  json_array_foreach(agents, index, agent) {
    if (!text_unhex(api_text(agent, "public_key"), key, sizeof key))
      continue;
    verify->trusted = memory_resize(verify->trusted, verify->trusted_count + 1, sizeof *verify->trusted);
    memcpy(verify->trusted[verify->trusted_count++], key, sizeof key);
  }
  verify->keys_of_coordinator = true;
  return status;
}

/* All that can be checked is checked, whatever went wrong before: all of it is worth knowing. */
static Status verify_all(Cli *cli, Verify *verify, Error *err) {
  Status status = stored_open(cli, &verify->stored, err);
  if (status == STATUS_OK)
    status = verify_trust(cli, verify, err);
  if (status == STATUS_OK)
    status = verify_manifest(cli, verify, err);
  if (status != STATUS_OK)
    return verify_failed(cli, verify, "manifest", err) ? STATUS_OK : status;
  static const struct {
    const char *name;
    Status (*run)(const Cli *cli, Verify *verify, Error *err);
  } steps[] = {{"segments", verify_archive}, {"roles", verify_roles}, {"proof", verify_proofs}};
  for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
    status = steps[i].run(cli, verify, err);
    if (status != STATUS_OK && !verify_failed(cli, verify, steps[i].name, err))
      return status;
  }
  return STATUS_OK;
}

static ExitCode verify_conclude(const Cli *cli, const Verify *verify) {
  bool good = verify->bad == 0 && verify->proven > 0;
  const char *verdict = verify->bad > 0 ? "altered" : good ? "proven" : "unproven";
  if (cli->json) {
    json_t *json = json_pack("{s:b, s:s, s:O, s:b}", "ok", good, "verdict", verdict, "checks", verify->checks,
                             "keys_of_coordinator", verify->keys_of_coordinator || !verify->stored.public_key_path);
    cli_print_json(json);
    json_decref(json);
    return good ? EXIT_DONE : EXIT_FAILED;
  }
  if (verify->bad > 0)
    printf("\nNOT VERIFIED: %zu checks failed. Do not rely on this checkpoint; find out who could write to the "
           "repository.\n",
           verify->bad);
  else if (good)
    printf("\nVERIFIED: it is whole, and %zu signed proof%s that it restores.\n", verify->proven,
           verify->proven == 1 ? " says" : "s say");
  else
    printf("\nUNPROVEN: it is whole, but no proof that counts says that it restores. Drill it: pgseal drill %s\n",
           verify->stored.manifest.checkpoint_id);
  if (good && (verify->keys_of_coordinator || !verify->stored.public_key_path))
    printf("Whose signatures count, the coordinator told. To depend on nobody: --public-key and --drill-public-key.\n");
  return good ? EXIT_DONE : EXIT_FAILED;
}

ExitCode command_verify(Cli *cli, int argc, char **argv) {
  CLEANUP(verify_release) Verify verify = {.checks = json_array()};
  const Option options[] = {
      STORED_OPTIONS(verify.stored),
      {"drill-public-key", OPTION_LIST, &verify.drill_keys, "PEM", "of an agent whose proofs count; may be repeated"},
      {"offline", OPTION_TEXT, &verify.offline, "DIR", "objects that were downloaded there; no coordinator is asked"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 1, &verify.stored.which, &code))
    return code;
  Stored *stored = &verify.stored;
  if (verify.offline && stored->repository_path)
    return cli_usage(cli, "--offline names the repository: --repository is one too many");
  if (verify.offline) {
    stored->repository_path = verify.offline;
    stored->alone = true;
  }
  if (!stored->which && !stored->alone)
    return cli_usage(cli, "name the checkpoint: either ID or TAG, or --prefix, or --offline");
  if (!stored_wanted(cli, stored, &code))
    return code;
  if (stored->alone && verify.drill_keys.count == 0)
    return cli_usage(cli, "without a coordinator, only you can say whose proofs count: --drill-public-key is missing");
  Error err;
  if (verify_all(cli, &verify, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  return verify_conclude(cli, &verify);
}
