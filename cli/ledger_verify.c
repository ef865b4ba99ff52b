/*
 * pgseal ledger verify: the chain of events, reckoned here and not by the coordinator. A chain can be written anew from
 * its start; that the one seen today goes on from the one seen before is what --expect is for.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "common/base/cleanup.h"
#include "common/manifest/chain.h"

enum { VERIFY_PAGE = 1000 };

typedef struct Walk {
  int64_t sequence; /* of the last event */
  char hash[SHA256_HEX_SIZE];
  int64_t expected_sequence; /* 0: nothing is expected */
  const char *expected_hash;
  bool met;
} Walk;

static Status broken(Error *err, int64_t sequence, const char *why) {
  error_set(err, ERR_CONFLICT, "the ledger's chain is broken at event %" PRId64 ": %s", sequence, why);
  error_remedy(err, "Find out who could write to the ledger; its backups tell what stood there before.");
  return err->status;
}

/* As the event was when its hash was made; of the API's member names, two differ. */
static json_t *original(const json_t *event) {
  static const char *const members[][2] = {
      {"actor", "actor"},     {"agent", "agent"},       {"checkpoint", "checkpoint_id"},
      {"job", "job_id"},      {"kind", "kind"},         {"database", "database"},
      {"time_us", "time_us"}, {"sequence", "sequence"}, {"detail", "detail"}};
  json_t *object = json_object();
  for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
    json_t *value = json_object_get(event, members[i][1]);
    if (value && !json_is_null(value))
      json_object_set(object, members[i][0], value);
  }
  return object;
}

static Status step(Walk *walk, const json_t *event, Error *err) {
  int64_t sequence = api_integer(event, "sequence");
  if (sequence != walk->sequence + 1)
    return broken(err, walk->sequence + 1, "it is missing");
  CLEANUP(api_release) json_t *was = original(event);
  char hash[SHA256_HEX_SIZE];
  Status status = chain_hash(was, walk->hash, hash, err);
  if (status != STATUS_OK)
    return status;
  if (strcmp(hash, api_text(event, "hash")) != 0)
    return broken(err, sequence, "it was altered after it was written");
  if (sequence == walk->expected_sequence) {
    if (strcmp(hash, walk->expected_hash) != 0)
      return broken(err, sequence, "it is another one than was seen before: the ledger was written anew");
    walk->met = true;
  }
  walk->sequence = sequence;
  memcpy(walk->hash, hash, sizeof walk->hash);
  return STATUS_OK;
}

static Status verify(Cli *cli, Walk *walk, Error *err) {
  cli->json = true; /* as it was written: what is checked is not cleaned for a terminal */
  for (;;) {
    CLEANUP(api_release) json_t *page = NULL;
    Status status = api_get(cli, &page, err, "/api/v1/ledger?after=%" PRId64 "&limit=%d", walk->sequence, VERIFY_PAGE);
    if (status != STATUS_OK)
      return status;
    if (json_is_false(json_object_get(page, "whole"))) {
      error_set(err, ERR_FORBIDDEN, "this token sees a part of the ledger only, and a chain is checked whole");
      error_remedy(err, "Use a token of role viewer or more that is of all databases.");
      return err->status;
    }
    const json_t *events = json_object_get(page, "events"), *event;
    size_t index;
    json_array_foreach(events, index, event) if ((status = step(walk, event, err)) != STATUS_OK) return status;
    if (json_array_size(events) == 0)
      break;
  }
  if (walk->expected_sequence > walk->sequence)
    return broken(err, walk->sequence + 1, "there were more events when it was looked at before");
  return STATUS_OK;
}

static bool parse_expected(const char *text, Walk *walk) {
  char *end = NULL;
  walk->expected_sequence = strtoll(text, &end, 10);
  walk->expected_hash = end + 1;
  return walk->expected_sequence > 0 && *end == ':' && strlen(end + 1) == SHA256_HEX_SIZE - 1 &&
         strspn(end + 1, "0123456789abcdef") == SHA256_HEX_SIZE - 1;
}

ExitCode command_ledger_verify(Cli *cli, int argc, char **argv) {
  const char *expected = NULL;
  const Option options[] = {{"expect", OPTION_TEXT, &expected, "N:HASH", "an event that was seen before"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 0, NULL, &code))
    return code;
  Walk walk = {0};
  memcpy(walk.hash, chain_start, sizeof walk.hash);
  if (expected && !parse_expected(expected, &walk))
    return cli_usage(cli, "--expect is what an earlier run printed: a number, a colon, 64 hexadecimal digits");
  bool json = cli->json;
  Error err;
  Status status = verify(cli, &walk, &err);
  cli->json = json;
  if (status != STATUS_OK) {
    code = cli_fail(cli, &err);
    return status == ERR_CONFLICT ? EXIT_FAILED : code;
  }
  if (json) {
    json_t *answer = json_pack("{s:b, s:I, s:s}", "ok", 1, "events", (json_int_t)walk.sequence, "tip", walk.hash);
    cli_print_json(answer);
    json_decref(answer);
    return EXIT_DONE;
  }
  printf("The chain is whole: %" PRId64 " events%s.\n", walk.sequence, walk.met ? ", the expected one among them" : "");
  printf("Keep this, and check later that it is still there: pgseal ledger verify --expect %" PRId64 ":%s\n",
         walk.sequence, walk.hash);
  return EXIT_DONE;
}
