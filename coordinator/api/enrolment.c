/* Agents that join: invitations, enrolment, revocation; the agent's side is agent/enroll. */
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/text.h"
#include "coordinator/api/internal.h"

static void free_json(json_t **json) {
  json_decref(*json);
}

/* POST /api/v1/agents */
enum MHD_Result agent_invite(Request *request) {
  static const char *const members[] = {"name", "capabilities", "databases", "expires_seconds"};
  CLEANUP(free_json) json_t *body = NULL;
  char token[AGENT_TOKEN_SIZE];
  const Agent *agent = NULL;
  const AgentsActor actor = {request->actor, request->address};
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = query_members(body, members, ARRAY_SIZE(members), &err);
  const char *name = json_string_value(json_object_get(body, "name"));
  const json_t *seconds = json_object_get(body, "expires_seconds");
  if (!status && (!name || (seconds && !json_is_integer(seconds))))
    status = error_set(&err, ERR_INVALID_ARGUMENT, "\"%s\" must be a %s", name ? "expires_seconds" : "name",
                       name ? "whole number" : "text");
  if (!status)
    status =
        agents_invite(dispatch_agents(request->api->dispatch), name, json_object_get(body, "capabilities"),
                      json_object_get(body, "databases"),
                      seconds ? json_integer_value(seconds) : AGENT_INVITATION_SECONDS, &actor, token, &agent, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *json = render_agent(request->api, &request->scope, agent, NULL, json_array());
  json_object_set_new(json, "ok", json_true());
  json_object_set_new(json, "token", json_string(token)); /* this once: only its hash is kept */
  explicit_bzero(token, sizeof token);
  return respond_json(request, MHD_HTTP_CREATED, json);
}

/* DELETE /api/v1/agents/{} */
enum MHD_Result agent_revoke(Request *request) {
  Agents *agents = dispatch_agents(request->api->dispatch);
  const AgentsActor actor = {request->actor, request->address};
  Error err;
  if (agents_revoke(agents, request->arg, &actor, &err) != STATUS_OK)
    return respond_failure(request, &err);
  json_t *json = render_agent(request->api, &request->scope, agents_find(agents, request->arg), NULL, json_array());
  json_object_set_new(json, "ok", json_true());
  return respond_json(request, MHD_HTTP_OK, json);
}

/* GET /api/v1/authority: public, since whoever asks compares it with the fingerprint in an invitation. */
enum MHD_Result authority_show(Request *request) {
  const Authority *authority = agents_authority(dispatch_agents(request->api->dispatch));
  Error err;
  if (!authority) {
    error_set(&err, ERR_NOT_FOUND, "this coordinator has no certificate authority");
    error_remedy(&err, "Name it as bus_tls in coordinator.yaml; `pgseal-coordinator init` makes one.");
    return respond_failure(request, &err);
  }
  char fingerprint[SHA256_HEX_SIZE];
  authority_fingerprint(authority, fingerprint);
  return respond_json(request, MHD_HTTP_OK,
                      json_pack("{s:s, s:s}", "certificate", authority_pem(authority), "fingerprint", fingerprint));
}

static bool take_text(const json_t *body, const char *member, const char **out) {
  *out = json_string_value(json_object_get(body, member));
  return *out && (*out)[0];
}

static Status read_request(const json_t *body, AgentRequest *out, Error *err) {
  static const char *const members[] = {"token", "request", "public_key", "signature"};
  const char *key, *signature;
  Status status = query_members(body, members, ARRAY_SIZE(members), err);
  if (status)
    return status;
  if (!take_text(body, "token", &out->token) || !take_text(body, "request", &out->request) ||
      !take_text(body, "public_key", &key) || !take_text(body, "signature", &signature) ||
      strlen(out->request) > PEM_LIMIT || !text_unhex(key, out->public_key, sizeof out->public_key) ||
      !text_unhex(signature, out->signature, sizeof out->signature))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "an enrolment needs \"token\", \"request\" (PEM), \"public_key\" and \"signature\" (hexadecimal)");
  return STATUS_OK;
}

/* POST /api/v1/enroll. Nobody's token but the invitation's own. */
enum MHD_Result agent_enroll(Request *request) {
  Agents *agents = dispatch_agents(request->api->dispatch);
  CLEANUP(free_json) json_t *body = NULL;
  CLEANUP(issued_release) Issued issued = {0};
  AgentRequest wish = {.address = request->address};
  const Agent *agent = NULL;
  Error err;
  Status status = query_body(request, &body, &err);
  if (!status)
    status = read_request(body, &wish, &err);
  if (!status)
    status = agents_enroll(agents, &wish, &agent, &issued, &err);
  if (status == ERR_UNAUTHORIZED)
    return router_deny(request, &err);
  if (status)
    return respond_failure(request, &err);
  json_t *json = json_pack("{s:b, s:s, s:s, s:s, s:s, s:O, s:O, s:o}", "ok", 1, "name", agent->who.name, "certificate",
                           issued.pem, "authority", authority_pem(agents_authority(agents)), "bus",
                           request->api->config->bus, "capabilities", agent->row.capabilities, "databases",
                           agent->row.databases, "expires_at", render_time(issued.expires_us));
  return respond_json(request, MHD_HTTP_CREATED, json);
}
