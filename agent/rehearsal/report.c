#include <stdlib.h>
#include <string.h>

#include "agent/rehearsal/rehearsal.h"
#include "common/base/cleanup.h"

const char *rehearsal_verdict(const Rehearsal *rehearsal) {
  return rehearsal->failed ? "failed" : rehearsal->dangers > 0 ? "dangerous" : "clean";
}

static json_t *name_json(Rehearsal *rehearsal, const RehearsalRelation *relation) {
  json_t *json = json_object();
  json_object_set_new(json, "schema", recovery_text(&rehearsal->plan.run, relation->schema));
  json_object_set_new(json, "name", recovery_text(&rehearsal->plan.run, relation->name));
  json_object_set_new(json, "rows", relation->rows >= 0 ? json_integer(relation->rows) : json_null());
  json_object_set_new(json, "bytes", json_integer(relation->bytes));
  return json;
}

/* Of each table the strongest, and how long the one was held that was held longest. */
static json_t *locks_json(Rehearsal *rehearsal, size_t limit, size_t *left_out) {
  json_t *list = json_array();
  for (size_t i = 0; i < rehearsal->relations.count; i++) {
    const RehearsalRelation *relation = &rehearsal->relations.items[i];
    RehearsalMode strongest = REHEARSAL_MODES;
    json_t *held = json_array();
    for (RehearsalMode mode = REHEARSAL_SHARE; mode < REHEARSAL_MODES; mode++) {
      if (relation->held_us[mode] == 0)
        continue;
      strongest = mode;
      json_array_append_new(held, json_pack("{s:s, s:f}", "mode", rehearsal_mode_name(mode), "seconds",
                                            (double)relation->held_us[mode] / 1e6));
    }
    if (strongest == REHEARSAL_MODES || json_array_size(list) >= limit) {
      *left_out += strongest != REHEARSAL_MODES;
      json_decref(held);
      continue;
    }
    json_t *json = name_json(rehearsal, relation);
    json_object_set_new(json, "mode", json_string(rehearsal_mode_name(strongest)));
    json_object_set_new(json, "seconds", json_real((double)relation->held_us[strongest] / 1e6));
    json_object_set_new(json, "held", held);
    json_array_append_new(list, json);
  }
  return list;
}

static json_t *rewrites_json(Rehearsal *rehearsal, size_t limit, size_t *left_out) {
  json_t *list = json_array();
  for (size_t i = 0; i < rehearsal->relations.count; i++) {
    const RehearsalRelation *relation = &rehearsal->relations.items[i];
    if (!relation->rewritten || relation->emptied)
      continue;
    if (json_array_size(list) < limit)
      json_array_append_new(list, name_json(rehearsal, relation));
    else
      (*left_out)++;
  }
  return list;
}

/* What is dangerous comes first. */
static json_t *findings_json(const Rehearsal *rehearsal, size_t limit, size_t *left_out) {
  json_t *list = json_array(), *finding;
  for (int pass = 0; pass < 2; pass++) {
    size_t index;
    json_array_foreach(rehearsal->findings, index, finding) {
      if (json_is_true(json_object_get(finding, "danger")) != (pass == 0))
        continue;
      if (json_array_size(list) < limit)
        json_array_append(list, finding);
      else
        (*left_out)++;
    }
  }
  return list;
}

static json_t *copy_json(const Rehearsal *rehearsal) {
  const DrillRun *drill = &rehearsal->drill;
  const Manifest *manifest = &drill->manifest;
  return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "checkpoint", manifest->checkpoint_id, "tag",
                   manifest->tag, "drill", "proven", "tables", (json_int_t)drill->source.table_count, "rows",
                   (json_int_t)drill->source.rows, "bytes", (json_int_t)drill->source.bytes, "server_version",
                   drill->server_version, "engine", drill->engine_name, "image", drill->image);
}

static json_t *build(void *user, size_t limit) {
  Rehearsal *rehearsal = user;
  size_t left_out = 0;
  json_t *json = json_object();
  json_object_set_new(json, "version", json_integer(1));
  json_object_set_new(json, "kind", json_string("rehearsal"));
  json_object_set_new(json, "environment", json_string(rehearsal->context->job->recovery->environment));
  json_object_set_new(json, "verdict", json_string(rehearsal_verdict(rehearsal)));
  json_object_set_new(json, "dangers", json_integer((json_int_t)rehearsal->dangers));
  json_object_set_new(json, "findings", findings_json(rehearsal, limit, &left_out));
  json_object_set_new(json, "statements", rehearsal_statements_json(&rehearsal->statements));
  json_object_set_new(json, "locks", locks_json(rehearsal, limit, &left_out));
  json_object_set_new(json, "rewrites", rewrites_json(rehearsal, limit, &left_out));
  json_object_set_new(json, "comparison", plan_comparison(&rehearsal->plan, limit));
  json_object_set_new(json, "seconds", json_real(rehearsal->seconds));
  json_object_set_new(json, "exit_status",
                      rehearsal->request.tunnel ? json_integer(rehearsal->exit_status) : json_null());
  json_object_set_new(json, "role", rehearsal->request.role ? json_string(rehearsal->request.role) : json_null());
  json_object_set_new(json, "copy", copy_json(rehearsal));
  json_object_set_new(json, "left_out", json_integer((json_int_t)left_out));
  return json;
}

char *rehearsal_report(Rehearsal *rehearsal) {
  return plan_report_fit(build, rehearsal);
}
