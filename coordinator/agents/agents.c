/* The registry: what coordinator.yaml lists, and what the ledger has of those that joined. */
#include "coordinator/agents/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"

size_t agents_count(const Agents *agents) {
  return agents->count;
}

const Agent *agents_at(const Agents *agents, size_t index) {
  return agents->items[index];
}

static Agent *find(const Agents *agents, const char *name) {
  return names_get(&agents->names, name);
}

const Agent *agents_find(const Agents *agents, const char *name) {
  return find(agents, name);
}

bool agent_admitted(const Agent *agent) {
  return agent->listed || agent_state_admitted(agent->row.state);
}

const ConfigAgent *agents_admitted(const Agents *agents, const char *name) {
  const Agent *agent = name ? find(agents, name) : NULL;
  return agent && agent_admitted(agent) ? &agent->who : NULL;
}

void agents_observe(Agents *agents, void (*changed)(void *user, const Agent *agent), void *user) {
  AgentsObserver observer = {changed, user};
  ARRAY_PUSH(agents->observers, agents->observer_count, observer);
}

const Authority *agents_authority(const Agents *agents) {
  return agents->authority;
}

/* ---- entries ---- */

static const char **texts_of(const json_t *list, size_t *count) {
  const char **texts = memory_alloc((json_array_size(list) + 1) * sizeof *texts);
  for (*count = 0; *count < json_array_size(list); ++*count) {
    const char *text = json_string_value(json_array_get(list, *count));
    texts[*count] = text ? text : "";
  }
  return texts;
}

static void forget(Agent *agent) {
  if (agent->listed)
    return;
  free(agent->who.capabilities);
  free(agent->who.databases);
  ledger_enrollment_release(&agent->row);
}

/* Takes the row. */
static void assign(Agent *agent, LedgerEnrollment *row) {
  forget(agent);
  agent->row = *row;
  *row = (LedgerEnrollment){0};
  agent->who = (ConfigAgent){.name = agent->row.name};
  agent->who.capabilities = texts_of(agent->row.capabilities, &agent->who.capability_count);
  agent->who.databases = texts_of(agent->row.databases, &agent->who.database_count);
  if (!agent->row.public_key || !text_unhex(agent->row.public_key, agent->who.key, sizeof agent->who.key))
    memset(agent->who.key, 0, sizeof agent->who.key);
}

static Agent *add(Agents *agents, const char *name) {
  Agent *agent = memory_alloc(sizeof *agent);
  names_put(&agents->names, memory_strdup(name), agent);
  agent->index = agents->count;
  ARRAY_PUSH(agents->items, agents->count, agent);
  return agent;
}

LedgerEnrollment agents_copy(const LedgerEnrollment *row) {
  LedgerEnrollment copy = *row;
  copy.name = memory_strdup(row->name);
  json_incref(copy.capabilities);
  json_incref(copy.databases);
  copy.public_key = row->public_key ? memory_strdup(row->public_key) : NULL;
  copy.serial = row->serial ? memory_strdup(row->serial) : NULL;
  copy.certificate = row->certificate ? memory_strdup(row->certificate) : NULL;
  return copy;
}

static Status write_change(Agents *agents, const LedgerEnrollment *row, const AgentsChange *change, Error *err) {
  LedgerEvent event = {
      .kind = (char *)change->kind, .agent = row->name, .actor = (char *)change->actor, .detail = change->detail};
  Status status = ledger_enrollment_put(agents->ledger, row, err);
  if (!status && change->enrolled)
    status = ledger_signing_key_insert(agents->ledger, row->public_key, row->name, err);
  if (!status && change->revoke)
    status = ledger_signing_key_revoke(agents->ledger, row->name, clock_wall_us(), err);
  if (!status && change->issued)
    status =
        ledger_certificate_insert(agents->ledger, change->issued->serial, row->name, change->issued->expires_us, err);
  if (!status && change->revoke)
    status = ledger_certificate_revoke(agents->ledger, row->name, clock_wall_us(), err);
  return status ? status : ledger_event_append(agents->ledger, &event, err);
}

static bool same_text(const char *a, const char *b) {
  return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_row(const LedgerEnrollment *a, const LedgerEnrollment *b) {
  return a->state == b->state && same_text(a->public_key, b->public_key) && same_text(a->serial, b->serial) &&
         strcmp(a->token_hash, b->token_hash) == 0 && strcmp(a->spent_hash, b->spent_hash) == 0 &&
         a->invited_us == b->invited_us && a->token_expires_us == b->token_expires_us &&
         a->enrolled_us == b->enrolled_us && a->issued_us == b->issued_us && a->expires_us == b->expires_us &&
         a->revoked_us == b->revoked_us;
}

static void tell(const Agents *agents, const Agent *agent) {
  for (size_t i = 0; i < agents->observer_count; i++)
    agents->observers[i].changed(agents->observers[i].user, agent);
}

/* Inside the transaction: what this change was made from must be what the ledger has; another coordinator may have
 * changed it, such as revoked the agent. */
static Status check_unchanged(const Agents *agents, const char *name, Error *err) {
  CLEANUP(ledger_enrollment_release) LedgerEnrollment now = {0};
  const Agent *known = find(agents, name);
  Error missing;
  if (!ledger_shared(agents->ledger) || (known && known->listed))
    return STATUS_OK;
  Status status = ledger_enrollment_get(agents->ledger, name, &now, &missing);
  if (status && status != ERR_NOT_FOUND) {
    *err = missing;
    return status;
  }
  if (known ? !status && same_row(&known->row, &now) : status == ERR_NOT_FOUND)
    return STATUS_OK;
  error_set(err, ERR_UNAVAILABLE, "agent %s was changed by another coordinator at the same time", name);
  error_remedy(err, "Look at it again (`pgseal agents`), and try once more.");
  return ERR_UNAVAILABLE;
}

void agents_refresh(Agents *agents) {
  LedgerEnrollment *rows = NULL;
  size_t count = 0;
  Error err;
  if (ledger_enrollment_list(agents->ledger, &rows, &count, &err)) {
    log_failure(LOG_LEVEL_ERROR, "the agents could not be read again; it is tried with the next change", &err);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    Agent *agent = find(agents, rows[i].name);
    if (agent && (agent->listed || same_row(&agent->row, &rows[i]))) {
      ledger_enrollment_release(&rows[i]);
      continue;
    }
    agent = agent ? agent : add(agents, rows[i].name);
    assign(agent, &rows[i]);
    tell(agents, agent);
  }
  free(rows);
}

Status agents_save(Agents *agents, LedgerEnrollment *row, const AgentsChange *given, const Agent **out, Error *err) {
  AgentsChange whole = *given, *change = &whole;
  if (change->address) {
    change->detail = change->detail ? change->detail : json_object();
    json_object_set_new(change->detail, "address", json_string(change->address));
  }
  Status status = ledger_begin(agents->ledger, err);
  if (!status)
    status = check_unchanged(agents, row->name, err);
  if (!status)
    status = write_change(agents, row, change, err);
  if (!status)
    status = ledger_commit(agents->ledger, err);
  json_decref(change->detail);
  if (status) {
    ledger_rollback(agents->ledger);
    return status;
  }
  log_info(change->kind, "agent", row->name, "state", agent_state_name(row->state), "actor",
           change->actor ? change->actor : "", NULL);
  Agent *agent = find(agents, row->name);
  if (!agent)
    agent = add(agents, row->name);
  assign(agent, row);
  tell(agents, agent);
  if (out)
    *out = agent;
  return STATUS_OK;
}

/* ---- opening and closing ---- */

/* Takes the row. */
static Status load_row(Agents *agents, LedgerEnrollment *row, Error *err) {
  if (!find(agents, row->name)) {
    assign(add(agents, row->name), row);
    return STATUS_OK;
  }
  AgentState state = row->state;
  if (state == AGENT_REVOKED || state == AGENT_EXPIRED) { /* whoever lists it now has decided so since */
    ledger_enrollment_release(row);
    return STATUS_OK;
  }
  error_set(err, ERR_CONFIG, "agent %s is listed in %s, and %s as well", row->name, agents->config->path,
            agent_state_name(state));
  error_remedy(err, "Take it out of `agents`; or revoke it first, while it is not listed: pgseal agent revoke %s",
               row->name);
  ledger_enrollment_release(row);
  return err->status;
}

static Status load(Agents *agents, Error *err) {
  for (size_t i = 0; i < agents->config->agent_count; i++) {
    Agent *agent = add(agents, agents->config->agents[i].name);
    agent->who = agents->config->agents[i];
    agent->listed = true;
  }
  LedgerEnrollment *rows = NULL;
  size_t count = 0;
  Status status = ledger_enrollment_list(agents->ledger, &rows, &count, err);
  for (size_t i = 0; i < count; i++) {
    if (!status)
      status = load_row(agents, &rows[i], err);
    else
      ledger_enrollment_release(&rows[i]);
  }
  free(rows);
  return status;
}

Status agents_open(const CoordinatorConfig *config, Ledger *ledger, Agents **out, Error *err) {
  Agents *agents = memory_alloc(sizeof *agents);
  *agents = (Agents){.config = config, .ledger = ledger};
  Status status = config->ca ? authority_load(config->ca, config->ca_key, &agents->authority, err) : STATUS_OK;
  if (!status)
    status = load(agents, err);
  if (status) {
    agents_close(agents);
    return status;
  }
  *out = agents;
  return STATUS_OK;
}

void agents_close(Agents *agents) {
  if (!agents)
    return;
  for (size_t i = 0; i < agents->count; i++) {
    forget(agents->items[i]);
    free(agents->items[i]);
  }
  for (size_t i = 0; i < agents->names.room; i++)
    free((char *)agents->names.entries[i].name);
  names_release(&agents->names);
  free(agents->items);
  free(agents->observers);
  authority_free(agents->authority);
  free(agents);
}
