#include "coordinator/alerts/conditions.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/text.h"
#include "coordinator/overview/overview.h"

#define SECOND_US ((int64_t)1000000)
#define DAY_US (86400 * SECOND_US)
enum {
  TREND_LEAST = 3,        /* restores before this one that make a trend */
  TREND_SECONDS = 30,     /* slower by less is noise */
  FALLEN_BYTES = 1 << 20, /* of what is smaller nobody is told */
  FALLEN_ROWS = 1000,
  EXPIRY_DAYS = 21,
  DISK_HOLD_SECONDS = 60 /* a drill that fills it may be over by then */
};

const char *severity_name(Severity severity) {
  return severity == SEVERITY_CRITICAL ? "critical" : "warning";
}

void checkpoint_facts_release(CheckpointFacts *facts) {
  free(facts->tag);
  free(facts->code);
  free(facts->message);
  free(facts->remedy);
  json_decref(facts->omissions);
  json_decref(facts->source);
  *facts = (CheckpointFacts){0};
}

void drill_facts_release(DrillFacts *facts) {
  free(facts->code);
  free(facts->message);
  *facts = (DrillFacts){0};
}

void database_facts_release(DatabaseFacts *facts) {
  for (size_t i = 0; i < FACTS_CHECKPOINTS; i++) {
    checkpoint_facts_release(&facts->ended[i]);
    checkpoint_facts_release(&facts->sealed[i]);
  }
  for (size_t i = 0; i < FACTS_DRILLS; i++)
    drill_facts_release(&facts->drills[i]);
  free(facts->canary_message);
  json_decref(facts->fallen);
  *facts = (DatabaseFacts){0};
}

static const char *text_of(const char *text) {
  return text ? text : "";
}

bool finding_say(Finding *out, const char *format, ...) {
  char text[4 * FINDING_SUMMARY];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  *out = (Finding){0};
  text_clip(text, out->summary, sizeof out->summary);
  return true;
}

void finding_advise(Finding *out, const char *format, ...) {
  char text[2 * FINDING_REMEDY];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  text_clip(text, out->remedy, sizeof out->remedy);
}

const char *finding_span(int64_t seconds, char out[FINDING_SPAN]) {
  static const struct {
    int64_t seconds, from;
    const char *name;
  } units[] = {{86400, 2 * 86400, "day"}, {3600, 2 * 3600, "hour"}, {60, 120, "minute"}, {1, 0, "second"}};
  if (seconds < 0) /* a clock was set back */
    seconds = 0;
  for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
    if (seconds < units[i].from)
      continue;
    long long number = seconds / units[i].seconds;
    snprintf(out, FINDING_SPAN, "%lld %s%s", number, units[i].name, number == 1 ? "" : "s");
    break;
  }
  return out;
}

/* ---- checkpoints and drills ---- */

static bool checkpoint_failed(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  const CheckpointFacts *newest = &f->ended[0];
  if (f->ended_count == 0 || newest->state != CHECKPOINT_FAILED)
    return false;
  finding_say(out, "%s: the newest checkpoint (%s) failed: %s", f->name, text_of(newest->tag),
              text_of(newest->message));
  finding_advise(out, "%s", text_of(newest->remedy));
  return true;
}

static bool checkpoint_errored(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)now_us;
  size_t row = 0;
  while (row < f->ended_count && f->ended[row].state == CHECKPOINT_ERRORED)
    row++;
  if (row == 0 || row < (size_t)settings->errored_times)
    return false;
  finding_say(out, "%s: %s%zu checkpoint%s in a row ended with an error, the last with %s: %s", f->name,
              row == FACTS_CHECKPOINTS ? "at least " : "", row, row == 1 ? "" : "s", text_of(f->ended[0].code),
              text_of(f->ended[0].message));
  finding_advise(out, "%s", text_of(f->ended[0].remedy));
  return true;
}

/* Of a checkpoint that had been sealed, or of an older one: the newest's own failure is checkpoint_failed. */
static bool drill_failed(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  const DrillFacts *last = &f->drills[0];
  if (f->drill_count == 0 || last->state != JOB_FAILED ||
      (f->ended_count > 0 && strcmp(last->checkpoint, f->ended[0].id) == 0))
    return false;
  finding_say(out, "%s: checkpoint %s did not restore any more: %s", f->name, last->checkpoint, text_of(last->message));
  finding_advise(out, "It is condemned. See pgseal show %s; drill the others: pgseal rotation.", last->checkpoint);
  return true;
}

static bool drill_errored(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)now_us;
  size_t row = 0;
  while (row < f->drill_count && f->drills[row].state == JOB_ERRORED)
    row++;
  bool told = f->ended_count > 0 && f->ended[0].state == CHECKPOINT_ERRORED; /* checkpoint_errored is about it */
  if (row == 0 || row < (size_t)settings->errored_times || told)
    return false;
  return finding_say(out, "%s: %zu drill%s in a row ended with an error, the last with %s: %s", f->name, row,
                     row == 1 ? "" : "s", text_of(f->drills[0].code), text_of(f->drills[0].message));
}

static bool canary_survived(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  if (!f->canary_survived)
    return false;
  finding_say(out, "%s: a drill took a damaged checkpoint for a whole one: %s", f->name, text_of(f->canary_message));
  finding_advise(out, "That agent's drills do not see damage. It is drained; find out why before you undrain it.");
  return true;
}

/* ---- age ---- */

static bool proof_overdue(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  char age[FINDING_SPAN], objective[FINDING_SPAN];
  OverviewMet met = overview_met(f->proof_age_s, f->proof_objective_s);
  if (met != OVERVIEW_MISSED && met != OVERVIEW_NOTHING)
    return false;
  finding_span(f->proof_objective_s, objective);
  if (f->proof_age_s >= 0)
    finding_say(out, "%s: the newest proof is %s old; the objective is %s", f->name, finding_span(f->proof_age_s, age),
                objective);
  else
    finding_say(out, "%s: nothing of it is proven; the objective is a proof every %s", f->name, objective);
  finding_advise(out, "Drill its newest checkpoint (pgseal drill), or take one: pgseal checkpoint %s --tag now",
                 f->name);
  out->hold_us = f->proof_age_s >= 0 ? 0 : f->proof_objective_s * SECOND_US; /* it may only just have been added */
  return true;
}

static bool checkpoint_overdue(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  char age[FINDING_SPAN], objective[FINDING_SPAN];
  OverviewMet met = overview_met(f->data_age_s, f->data_loss_objective_s);
  if (met != OVERVIEW_MISSED && met != OVERVIEW_NOTHING)
    return false;
  finding_span(f->data_loss_objective_s, objective);
  if (f->data_age_s >= 0)
    finding_say(out, "%s: the newest sealed checkpoint was asked for %s ago; no more than %s may be lost", f->name,
                finding_span(f->data_age_s, age), objective);
  else
    finding_say(out, "%s: there is no sealed checkpoint of it; no more than %s may be lost", f->name, objective);
  finding_advise(out, "pgseal schedule %s; pgseal checkpoint %s --tag now", f->name, f->name);
  out->hold_us = f->data_age_s >= 0 ? 0 : f->data_loss_objective_s * SECOND_US;
  return true;
}

static bool schedule_missed(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  char when[CLOCK_TEXT_SIZE];
  if (!f->missed)
    return false;
  finding_say(out, "%s: its scheduled checkpoint of %s was missed (%lld ever were)", f->name,
              clock_format(f->slot_us, when), (long long)f->missed_count);
  finding_advise(out, "The coordinator was down, or its clock was set. pgseal checkpoint %s --tag now", f->name);
  return true;
}

/* ---- trends ---- */

static int by_seconds(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return (left > right) - (left < right);
}

/* Of the restores before the newest; 0: there are too few. */
static double usual_seconds(const DatabaseFacts *f) {
  double list[FACTS_CHECKPOINTS];
  size_t count = 0;
  for (size_t i = 1; i < f->sealed_count; i++)
    if (f->sealed[i].drill_seconds > 0)
      list[count++] = f->sealed[i].drill_seconds;
  if (count < TREND_LEAST)
    return 0;
  qsort(list, count, sizeof *list, by_seconds);
  return list[count / 2];
}

static bool restore_slow(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)now_us;
  double seconds = f->sealed_count > 0 ? f->sealed[0].drill_seconds : 0, usual = usual_seconds(f);
  if (seconds > 0 && f->restore_objective_s > 0 && seconds > (double)f->restore_objective_s)
    return finding_say(out, "%s: its last restore took %.0f s; the objective is %lld s", f->name, seconds,
                       (long long)f->restore_objective_s);
  if (usual > 0 && seconds > usual * (1 + settings->slower_percent / 100.0) && seconds - usual >= TREND_SECONDS)
    return finding_say(out, "%s: its last restore took %.0f s; those before it took %.0f s", f->name, seconds, usual);
  return false;
}

static bool fallen(int64_t before, int64_t now, int percent) {
  return (double)now <= (double)before * (1 - percent / 100.0);
}

static bool size_fallen(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)now_us;
  char before[TEXT_SIZE_SIZE], now[TEXT_SIZE_SIZE];
  if (f->sealed_count < 2 || f->sealed[1].archive_bytes < FALLEN_BYTES ||
      !fallen(f->sealed[1].archive_bytes, f->sealed[0].archive_bytes, settings->fallen_percent))
    return false;
  finding_say(out, "%s: the newest sealed checkpoint (%s) has %s; the one before it had %s", f->name,
              text_of(f->sealed[0].tag), text_size(f->sealed[0].archive_bytes, now),
              text_size(f->sealed[1].archive_bytes, before));
  finding_advise(out, "See what is gone: pgseal plan %s --checkpoint %s", f->name, f->sealed[1].id);
  return true;
}

static bool rows_fallen(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)now_us;
  if (f->sealed_count < 2 || f->sealed[1].rows < FALLEN_ROWS ||
      !fallen(f->sealed[1].rows, f->sealed[0].rows, settings->fallen_percent))
    return false;
  finding_say(out, "%s: the newest sealed checkpoint (%s) has %lld rows; the one before it had %lld", f->name,
              text_of(f->sealed[0].tag), (long long)f->sealed[0].rows, (long long)f->sealed[1].rows);
  finding_advise(out, "See what is gone: pgseal plan %s --checkpoint %s", f->name, f->sealed[1].id);
  return true;
}

/* ---- what changed ---- */

static const char *member(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

/* A tool's warning names no object: its text is all there is of it. */
static bool only_words(const json_t *item) {
  return strcmp(member(item, "kind"), "warning") == 0 && !*member(item, "object");
}

static bool has_omission(const json_t *list, const json_t *wanted) {
  size_t index;
  const json_t *item;
  json_array_foreach(list, index, item) {
    if (strcmp(member(item, "kind"), member(wanted, "kind")) == 0 &&
        strcmp(member(item, "object"), member(wanted, "object")) == 0 &&
        (!only_words(wanted) || strcmp(member(item, "detail"), member(wanted, "detail")) == 0))
      return true;
  }
  return false;
}

static bool omissions_new(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  size_t index, count = 0;
  const json_t *item, *first = NULL;
  if (f->sealed_count < 2)
    return false;
  json_array_foreach(f->sealed[0].omissions, index, item) {
    if (strcmp(member(item, "kind"), "more") == 0 || has_omission(f->sealed[1].omissions, item))
      continue;
    first = first ? first : item;
    count++;
  }
  if (count == 0)
    return false;
  finding_say(out,
              "%s: the newest sealed checkpoint (%s) leaves out %zu object%s that the one before it did not: %s %s%s",
              f->name, text_of(f->sealed[0].tag), count, count == 1 ? "" : "s", member(first, "kind"),
              member(first, only_words(first) ? "detail" : "object"), count > 1 ? ", ..." : "");
  finding_advise(out, "See why, and what to do: pgseal show %s", f->sealed[0].id);
  return true;
}

static bool version_changed(const DatabaseFacts *f, const AlertSettings *settings, int64_t now_us, Finding *out) {
  (void)settings;
  (void)now_us;
  if (f->sealed_count < 2 || f->sealed[0].server_major == 0 || f->sealed[1].server_major == 0 ||
      f->sealed[0].server_major == f->sealed[1].server_major)
    return false;
  finding_say(out, "%s: its server is PostgreSQL %d now; at the checkpoint before it was %d", f->name,
              f->sealed[0].server_major, f->sealed[1].server_major);
  finding_advise(out, "Older checkpoints restore into %d; keep a drill image of it.", f->sealed[1].server_major);
  return true;
}

const DatabaseRule database_rules[] = {
    {"checkpoint_failed", SEVERITY_CRITICAL, checkpoint_failed},
    {"checkpoint_errored", SEVERITY_WARNING, checkpoint_errored},
    {"drill_failed", SEVERITY_CRITICAL, drill_failed},
    {"drill_errored", SEVERITY_WARNING, drill_errored},
    {"canary_survived", SEVERITY_CRITICAL, canary_survived},
    {"proof_overdue", SEVERITY_CRITICAL, proof_overdue},
    {"checkpoint_overdue", SEVERITY_CRITICAL, checkpoint_overdue},
    {"schedule_missed", SEVERITY_WARNING, schedule_missed},
    {"restore_slow", SEVERITY_WARNING, restore_slow},
    {"size_fallen", SEVERITY_CRITICAL, size_fallen},
    {"rows_fallen", SEVERITY_CRITICAL, rows_fallen},
    {"table_fallen", SEVERITY_CRITICAL, condition_table_fallen},
    {"omissions_new", SEVERITY_WARNING, omissions_new},
    {"version_changed", SEVERITY_WARNING, version_changed},
    {"collation_changed", SEVERITY_WARNING, condition_collation_changed},
    {"encoding_changed", SEVERITY_WARNING, condition_encoding_changed},
};
const size_t database_rule_count = ARRAY_SIZE(database_rules);

/* Of what is no database: as evaluate.c names them. */
static const char *const others[] = {"agent_lost",           "agent_disk_low",       "agent_certificate_expiring",
                                     "repository_unlocked",  "repository_removable", "token_expiring",
                                     "certificate_expiring", "chain_broken",         "fleet_unusable"};

bool condition_known(const char *name, bool of_database) {
  for (size_t i = 0; i < database_rule_count; i++)
    if (strcmp(database_rules[i].name, name) == 0)
      return true;
  for (size_t i = 0; i < ARRAY_SIZE(others) && !of_database; i++)
    if (strcmp(others[i], name) == 0)
      return true;
  return false;
}

/* ---- agents, tokens, the coordinator ---- */

bool condition_agent_lost(const AgentFacts *f, const AlertSettings *settings, Finding *out) {
  if (!f->seen || f->live)
    return false;
  finding_say(out, "agent %s has not been heard of for %d seconds or more", f->name, settings->agent_lost_seconds);
  finding_advise(out, "Look at its log, and whether its machine reaches the coordinator: pgseal doctor there.");
  out->hold_us = settings->agent_lost_seconds * SECOND_US;
  return true;
}

bool condition_repository_unlocked(const AgentFacts *f, const AlertSettings *settings, Finding *out) {
  bool unused = strcmp(f->lock, "unused") == 0;
  if (strcmp(f->lock, "none") != 0 && (!unused || f->locked_by_policy))
    return false;
  for (size_t i = 0; i < settings->accept_unlocked_count; i++)
    if (text_glob(settings->accept_unlocked[i], f->name))
      return false;
  if (unused) {
    finding_say(out, "agent %s: its bucket has Object Lock, but what is stored there is not locked", f->name);
    finding_advise(out,
                   "Set lock_mode and lock_days in its agent.yaml, or a default of the bucket: docs/repository.md.");
    return true;
  }
  if (strcmp(f->repository, "directory") == 0)
    finding_say(out, "agent %s stores in a directory: whoever has its user can delete every checkpoint there", f->name);
  else
    finding_say(out,
                "agent %s: its bucket has no Object Lock: whoever comes by a key that may delete can delete all of it",
                f->name);
  finding_advise(out,
                 "Use a bucket with Object Lock (docs/repository.md); or, if it is meant so: alerts.accept_unlocked in "
                 "coordinator.yaml.");
  return true;
}

bool condition_repository_removable(const AgentFacts *f, Finding *out) {
  if (strcmp(f->repository, "bucket") != 0 || strcmp(f->removes, "yes") != 0)
    return false;
  finding_say(out,
              "agent %s: its key may delete what is stored in the bucket, and it stores there: whoever has this agent "
              "has both",
              f->name);
  finding_advise(out,
                 "Take s3:DeleteObject and s3:DeleteObjectVersion from it: deploy/policies/dump.json and drill.json.");
  return true;
}

bool condition_agent_disk(const AgentFacts *f, const AlertSettings *settings, Finding *out) {
  char left[TEXT_SIZE_SIZE], all[TEXT_SIZE_SIZE];
  if (!f->fullest[0] || f->total_bytes <= 0 ||
      (double)f->free_bytes * 100 >= (double)f->total_bytes * settings->disk_free_percent)
    return false;
  finding_say(out, "agent %s: %s of %s are free on the disk of its %s", f->name, text_size(f->free_bytes, left),
              text_size(f->total_bytes, all), f->fullest);
  finding_advise(out, "Free space there, or give it a larger disk; until then: pgseal drain %s", f->name);
  out->hold_us = DISK_HOLD_SECONDS * SECOND_US;
  return true;
}

static bool expires(int64_t from_us, int64_t until_us, int64_t most_us, int64_t now_us) {
  int64_t margin_us = until_us > from_us ? (until_us - from_us) / 5 : 0;
  if (most_us && margin_us > most_us)
    margin_us = most_us;
  return until_us > 0 && now_us > until_us - margin_us;
}

bool condition_certificate_expiring(const AgentFacts *f, int64_t now_us, Finding *out) {
  char when[CLOCK_TEXT_SIZE];
  if (!expires(f->certificate_from_us, f->certificate_us, 0, now_us))
    return false;
  finding_say(out, "agent %s: its certificate %s at %s, and it has not renewed it", f->name,
              f->certificate_us > now_us ? "expires" : "expired", clock_format(f->certificate_us, when));
  finding_advise(out, "Start the agent, or see in its log why it cannot renew; once it has expired, invite it again.");
  return true;
}

bool condition_expiring(const char *what, const ExpiryFacts *f, int64_t now_us, Finding *out) {
  char when[CLOCK_TEXT_SIZE];
  if (!expires(f->from_us, f->until_us, EXPIRY_DAYS * DAY_US, now_us))
    return false;
  return finding_say(out, "%s %s %s at %s", what, f->name, f->until_us > now_us ? "expires" : "expired",
                     clock_format(f->until_us, when));
}

bool condition_chain_broken(const CoordinatorFacts *f, Finding *out) {
  if (!f->chain_problem[0])
    return false;
  finding_say(out, "%s", f->chain_problem);
  finding_advise(
      out, "Somebody changed the ledger. pgseal ledger verify; restore it from a backup, and find out who could.");
  return true;
}

bool condition_fleet_unusable(const CoordinatorFacts *f, Finding *out) {
  if (!f->fleet_problem[0])
    return false;
  finding_say(out, "the fleet's file cannot be used, the one before stays in force: %s", f->fleet_problem);
  finding_advise(out, "Correct it at the line named: pgseal-coordinator check");
  return true;
}
