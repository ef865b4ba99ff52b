#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "coordinator/api/internal.h"

enum MHD_Result health_alive(Request *request) {
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b, s:s}", "ok", 1, "version", PGSEAL_VERSION));
}

enum MHD_Result health_ready(Request *request) {
  LedgerJob *jobs = NULL;
  size_t count = 0;
  Error err;
  if (ledger_job_open(request->api->ledger, &jobs, &count, &err) != STATUS_OK)
    return respond_error(request, MHD_HTTP_SERVICE_UNAVAILABLE, &err, NULL);
  ledger_job_list_free(jobs, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:b}", "ok", 1));
}

/* Prometheus' text format. */
enum MHD_Result health_metrics(Request *request) {
  CLEANUP(buffer_release) Buffer text = {0};
  Api *api = request->api;
  buffer_append_format(&text,
                       "# HELP pgseal_build_info The version that runs.\n# TYPE pgseal_build_info "
                       "gauge\npgseal_build_info{version=\"%s\"} 1\n",
                       PGSEAL_VERSION);
  buffer_append_text(
      &text, "# HELP pgseal_checkpoints Checkpoints in the ledger by state.\n# TYPE pgseal_checkpoints gauge\n");
  for (int state = 0; state < CHECKPOINT_STATE_COUNT; state++) {
    int64_t count = 0;
    Error err;
    if (ledger_checkpoint_count(api->ledger, checkpoint_state_name(state), &count, &err) != STATUS_OK)
      return respond_failure(request, &err);
    buffer_append_format(&text, "pgseal_checkpoints{state=\"%s\"} %lld\n", checkpoint_state_name(state),
                         (long long)count);
  }
  int live = 0;
  const Agents *agents = dispatch_agents(api->dispatch);
  for (size_t i = 0; i < agents_count(agents); i++)
    live += dispatch_agent_live(api->dispatch, agents_at(agents, i)->who.name);
  buffer_append_format(
      &text,
      "# HELP pgseal_agents_live Agents that are connected.\n# TYPE pgseal_agents_live gauge\npgseal_agents_live %d\n",
      live);
  return respond_text(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", buffer_text(&text));
}

enum MHD_Result health_home(Request *request) {
  return respond_text(
      request, MHD_HTTP_OK, "text/plain; charset=utf-8",
      "pgseal coordinator " PGSEAL_VERSION "\n\n"
      "POST /api/checkpoint with {\"database\": ..., \"tag\": ...} and a bearer token seals a checkpoint.\n"
      "The rest is under /api/v1/; the documentation is in docs/api.md and docs/openapi.yaml.\n"
      "On the command line: pgseal --help\n");
}
