#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

static Status run_load_key(DrillRun *run, Error *err) {
  const AgentConfig *config = run->context->config;
  if (config->decryption_key)
    return decryption_key_load(config->decryption_key, config->decryption_certificate, &run->key, err);
  error_set(err, ERR_CONFIG, "this agent has no decryption key, so it cannot drill");
  error_remedy(err, "Name one in `keys.decryption_key` of %s, or take `drill` from the agent's capabilities.",
               config->path ? config->path : "agent.yaml");
  return err->status;
}

Status drill_run_load_proof_keys(DrillRun *run, Error *err) {
  const AgentConfig *config = run->context->config;
  /* proofs are read back, so they are for this agent's own key in any case */
  const char **paths = NULL;
  size_t count = 0;
  for (size_t i = 0; i < config->recipient_count; i++)
    ARRAY_PUSH(paths, count, config->recipients[i]);
  const char *own = config->decryption_certificate;
  for (size_t i = 0; own && i < config->recipient_count; i++)
    if (strcmp(own, config->recipients[i]) == 0)
      own = NULL;
  if (own)
    ARRAY_PUSH(paths, count, own);
  Status status = recipients_load(paths, count, &run->recipients, err);
  free(paths);
  return status == STATUS_OK ? signing_key_load(config->signing_key, &run->signer, err) : status;
}

Status drill_run_open(DrillRun *run, const JobContext *context, const Pgseal__DrillSpec *spec, Error *err) {
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigaction(SIGPIPE, &ignore, NULL); /* a tool that ends early is noticed by EPIPE */
  run->context = context;
  run->spec = spec;
  run->started_us = clock_wall_us();
  stages_open(&run->stages);
  pgseal__job_progress__init(&run->progress);
  if (!run->spec || run->spec->dump_public_key.len != PUBLIC_KEY_SIZE)
    return error_set(err, ERR_PROTOCOL, "the coordinator sent a drill without the dump agent's public key");
  run->prefix = memory_strdup(context->job->prefix);
  run->major = (int)run->spec->server_major;
  if (*run->spec->manifest_sha256) {
    run->manifest_sha256 = memory_strdup(run->spec->manifest_sha256);
    run->stored = true;
  }
  Status status = run_load_key(run, err);
  if (status == STATUS_OK)
    status = job_repository(context, &run->repository, err);
  if (status == STATUS_OK)
    status = engine_open(&context->config->drill, &run->engine, err);
  if (status == STATUS_OK)
    run->engine_name = memory_strdup(engine_name(run->engine));
  return status;
}

static void run_free_text(char **text) {
  free(*text);
  *text = NULL;
}

void drill_run_reset(DrillRun *run) {
  postgres_close(&run->admin);
  cluster_stop(run->cluster);
  run->cluster = NULL;
  fingerprint_builder_free(run->builder);
  run->builder = NULL;
  fingerprint_builder_free(run->rebuilder);
  run->rebuilder = NULL;
  fingerprint_release(&run->source);
  fingerprint_release(&run->copy);
  run->source_whole = run->copy_whole = false;
  drill_issues_release(&run->issues);
  difference_list_release(&run->differences);
  json_decref(run->assertions);
  run->assertions = NULL;
  for (size_t i = 0; i < run->note_count; i++)
    free(run->notes[i]);
  free(run->notes);
  run->notes = NULL;
  run->note_count = 0;
  free(run->segments_read);
  run->segments_read = NULL;
  run->segment_count = 0;
  run->roles_read = (StoredRead){0};
  if (run->toc_path)
    (void)unlink(run->toc_path);
  run_free_text(&run->toc_path);
  run_free_text(&run->tools_dir);
  run_free_text(&run->tools_version);
  run_free_text(&run->server_version);
  run_free_text(&run->image);
  run->moved = run->roles_known = run->has_roles = false;
  run->follow_serial = 0;
  run->available = 0;
  stages_reset(&run->stages); /* what is told is of the walk that came to an end */
}

void drill_run_release(DrillRun *run) {
  drill_run_reset(run);
  engine_close(run->engine);
  run_free_text(&run->engine_name);
  manifest_release(&run->manifest);
  run_free_text(&run->prefix);
  run_free_text(&run->bootstrap_role);
  run_free_text(&run->database_name);
  run_free_text(&run->manifest_sha256);
  signing_key_free(run->signer);
  recipients_free(run->recipients);
  decryption_key_free(run->key);
  repository_close(run->repository);
}
