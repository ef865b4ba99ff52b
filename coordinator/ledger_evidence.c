#include "coordinator/ledger_evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"
#include "common/manifest/manifest.h"

enum { PAGE = 500 };

static const char *text_of(const json_t *object, const char *member) {
  const char *text = json_string_value(json_object_get(object, member));
  return text ? text : "";
}

static Status broken(Error *err, const Checkpoint *checkpoint, const char *why) {
  error_set(err, ERR_CONFLICT, "the ledger says that checkpoint %s of database %s is sealed, but %s", checkpoint->id,
            checkpoint->database, why);
  error_object(err, "%s", checkpoint->id);
  error_remedy(err, "Find out who could write to the ledger. `pgseal verify %s` says what the repository proves.",
               checkpoint->id);
  return ERR_CONFLICT;
}

/* ---- verdicts ---- */

static bool is_key_of(const ConfigAgent *agents, size_t count, const char *name, const uint8_t key[PUBLIC_KEY_SIZE]) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(agents[i].name, name) == 0 && memcmp(agents[i].key, key, PUBLIC_KEY_SIZE) == 0)
      return true;
  return false;
}

static Status key_known(const CoordinatorConfig *config, Ledger *ledger, const char *name,
                        const uint8_t key[PUBLIC_KEY_SIZE], bool *known, Error *err) {
  CLEANUP_FREE char *owner = NULL;
  char hex[PUBLIC_KEY_HEX_SIZE];
  bool revoked; /* since: what it proved before stays proven */
  *known = is_key_of(config->agents, config->agent_count, name, key) ||
           is_key_of(config->former_agents, config->former_agent_count, name, key);
  if (*known)
    return STATUS_OK;
  text_hex(key, PUBLIC_KEY_SIZE, hex);
  Status status = ledger_signing_key_get(ledger, hex, &owner, &revoked, err);
  *known = status == STATUS_OK && owner && strcmp(owner, name) == 0;
  return status;
}

static Status check_verdict(const CoordinatorConfig *config, Ledger *ledger, const Checkpoint *checkpoint,
                            const json_t *verdict, LedgerEvidence *out, Error *err) {
  uint8_t key[PUBLIC_KEY_SIZE], signature[SIGNATURE_SIZE];
  bool known = false;
  CLEANUP_FREE char *statement = verdict_statement(
      checkpoint->id, text_of(verdict, "drill"), checkpoint->manifest_sha256, checkpoint->proof_sha256, OUTCOME_PROVEN);
  if (!text_unhex(text_of(verdict, "public_key"), key, sizeof key) ||
      !text_unhex(text_of(verdict, "signature"), signature, sizeof signature) ||
      !signing_verify(key, "verdict", statement, strlen(statement), signature))
    return broken(err, checkpoint, "the verdict on it is not signed like that");
  Status status = key_known(config, ledger, text_of(verdict, "agent"), key, &known, err);
  out->verified++;
  out->unknown_keys += status == STATUS_OK && !known;
  return status;
}

/* The chain says at least that it came to be sealed, and with which manifest. */
static Status check_event(Ledger *ledger, const Checkpoint *checkpoint, Error *err) {
  const EventFilter filter = {.limit = -1, .checkpoint_id = checkpoint->id};
  LedgerEvent *events = NULL;
  size_t count = 0;
  bool found = false;
  Status status = ledger_event_list(ledger, &filter, &events, &count, err);
  for (size_t i = 0; status == STATUS_OK && i < count && !found; i++) {
    bool rebuilt =
        strcmp(events[i].kind, "checkpoint.rebuilt") == 0 && strcmp(text_of(events[i].detail, "state"), "sealed") == 0;
    found = (rebuilt || strcmp(events[i].kind, "checkpoint.sealed") == 0) &&
            strcmp(text_of(events[i].detail, "manifest_sha256"), checkpoint->manifest_sha256) == 0;
  }
  ledger_event_list_free(events, count);
  return status != STATUS_OK || found ? status : broken(err, checkpoint, "no event of its chain does");
}

static Status check_one(const CoordinatorConfig *config, Ledger *ledger, const Checkpoint *checkpoint,
                        LedgerEvidence *out, Error *err) {
  const json_t *verdict = json_object_get(checkpoint->detail, "verdict");
  out->sealed++;
  if (!checkpoint->manifest_sha256 || !checkpoint->proof_sha256)
    return broken(err, checkpoint, "it names no manifest and proof");
  if (verdict)
    return check_verdict(config, ledger, checkpoint, verdict, out, err);
  bool rebuilt = json_object_get(checkpoint->detail, "rebuilt_us") != NULL;
  out->rebuilt += rebuilt;
  out->older += !rebuilt;
  return check_event(ledger, checkpoint, err);
}

Status ledger_evidence_check(const CoordinatorConfig *config, Ledger *ledger, LedgerEvidence *out, Error *err) {
  CLEANUP_FREE char *before = NULL;
  Status status = STATUS_OK;
  for (size_t count = PAGE; status == STATUS_OK && count == PAGE;) {
    const CheckpointFilter filter = {.state = "sealed", .before_id = before, .limit = PAGE};
    Checkpoint *items = NULL;
    status = ledger_checkpoint_list(ledger, &filter, &items, &count, err);
    if (status != STATUS_OK)
      return status;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
      status = check_one(config, ledger, &items[i], out, err);
    free(before);
    before = count > 0 ? memory_strdup(items[count - 1].id) : NULL;
    checkpoint_list_free(items, count);
  }
  return status;
}

/* ---- keys ---- */

static void print_list(const char *name, const char *const *items, size_t count) {
  printf(", %s: [", name);
  for (size_t i = 0; i < count; i++)
    printf("%s'%s'", i ? ", " : "", items[i]);
  printf("]");
}

static void print_key(const ConfigAgent *agent, const char *public_key, bool revoked) {
  printf("  %s- {name: %s, public_key: '%s'", revoked ? "# revoked: " : "", agent->name, public_key);
  print_list("capabilities", agent->capabilities, agent->capability_count);
  print_list("databases", agent->databases, agent->database_count);
  printf("}\n");
}

static void print_all(const ConfigAgent *agents, size_t count) {
  char hex[PUBLIC_KEY_HEX_SIZE];
  for (size_t i = 0; i < count; i++) {
    text_hex(agents[i].key, PUBLIC_KEY_SIZE, hex);
    print_key(&agents[i], hex, false);
  }
}

static const char **texts_of(const json_t *list, size_t *count) {
  const char **texts = memory_alloc((json_array_size(list) + 1) * sizeof *texts);
  for (*count = 0; *count < json_array_size(list); ++*count)
    texts[*count] = json_string_value(json_array_get(list, *count));
  return texts;
}

static Status print_enrolled(Ledger *ledger, const LedgerSigningKey *key, Error *err) {
  CLEANUP(ledger_enrollment_release) LedgerEnrollment row = {0};
  Status status = ledger_enrollment_get(ledger, key->agent, &row, err);
  if (status != STATUS_OK)
    return status;
  ConfigAgent agent = {.name = row.name};
  agent.capabilities = texts_of(row.capabilities, &agent.capability_count);
  agent.databases = texts_of(row.databases, &agent.database_count);
  print_key(&agent, key->public_key, key->revoked_us != 0);
  free(agent.capabilities);
  free(agent.databases);
  return STATUS_OK;
}

Status ledger_keys_print(const CoordinatorConfig *config, Ledger *ledger, Error *err) {
  LedgerSigningKey *keys = NULL;
  size_t count = 0;
  Status status = ledger_signing_key_list(ledger, &keys, &count, err);
  if (status == STATUS_OK) {
    printf("# Whose signatures a rebuilt ledger may believe (docs/ledger.md). Keep it beside coordinator.yaml.\n");
    printf("former_agents:%s\n", count + config->agent_count + config->former_agent_count == 0 ? " []" : "");
    print_all(config->agents, config->agent_count);
    print_all(config->former_agents, config->former_agent_count);
  }
  for (size_t i = 0; i < count && status == STATUS_OK; i++)
    status = print_enrolled(ledger, &keys[i], err);
  ledger_signing_key_list_free(keys, count);
  return status;
}
