/*
 * The fleet: every database there is, with what the policies say of it. Made of coordinator.yaml's databases and of a
 * document, fleet.yaml (docs/fleet.md; an annotated example: deploy/fleet.yaml), which is applied as a whole.
 *
 * A Fleet is read-only once it is made, and owns all that it points to; it may be freed before its CoordinatorConfig
 * only. Dispatch holds the one in force, and replaces it when a document is applied: nothing of it is kept across turns
 * of the loop. Loop thread only.
 *
 * A policy holds for the databases that it matches. Where several match, a later one overrides an earlier one setting
 * by setting; assertions add up, and one of the same name is the later one's. What a database of fleet.yaml says of
 * itself overrides its policies. A database of coordinator.yaml has its budgets and its lock from there, and needs
 * approval if either says so; everything else is the policies'.
 */
#ifndef PGSEAL_COORDINATOR_FLEET_FLEET_H
#define PGSEAL_COORDINATOR_FLEET_FLEET_H

#include <jansson.h>

#include "coordinator/config.h"
#include "coordinator/retention/decide.h"
#include "coordinator/rotation/rotation.h"

enum { FLEET_TEXT_LIMIT = 4 << 20, FLEET_NOTES_LIMIT = 100 };

/* When checkpoints are taken. */
typedef struct FleetSchedule {
  const char *cron;      /* NULL: none */
  const char *time_zone; /* "Europe/Berlin"; default "UTC" */
  int jitter_seconds;    /* each database's run is late by its own share of it; default 0 */
  bool make_up;          /* `missed: run_once` (default): once, when there is somebody again; else skipped */
  bool overlap;          /* also while one of this database is under way; default false */
  int64_t gap_seconds;   /* the longest time between two runs; 0: there is no cron */
} FleetSchedule;

/* Which drills are repeated, and when. */
typedef struct FleetRotation {
  int64_t proof_age_seconds; /* what is to be drilled again; 0: as the objective has it */
  unsigned kinds;            /* RotationKind's; 0: none */
} FleetRotation;

typedef struct FleetObjectives { /* seconds; 0: none */
  int64_t proof_age, restore_time, data_loss;
} FleetObjectives;

typedef struct FleetPolicy { /* what holds for one database */
  FleetSchedule schedule;
  bool retains; /* some policy says something of retention; else nothing is ever pruned */
  RetentionPolicy retention;
  FleetRotation rotation;
  const char *drill_image; /* that drills and rehearsals are in; NULL: each agent's own for the major version */
  FleetObjectives objectives;
  const char **alerts; /* names of routes */
  size_t alert_count;
} FleetPolicy;

typedef struct FleetDatabase {
  ConfigDatabase config; /* name, environment, owner, assertions, budgets, lock, restore_approval: all resolved */
  const char *host;      /* the machine that its server is on, for the limit; "": not said */
  const char **labels;   /* "KEY=VALUE" */
  size_t label_count;
  FleetPolicy policy;
  const char **policies; /* names of those that match, in their order */
  size_t policy_count;
  bool declared; /* by fleet.yaml; else by coordinator.yaml */
} FleetDatabase;

typedef struct FleetQuota { /* of an owner; 0: no limit */
  const char *owner;
  int queued, running;
} FleetQuota;

typedef struct FleetLimits { /* of dumps that run at once; 0: no limit */
  int running, host_running;
} FleetLimits;

typedef struct FleetCapacity { /* that rotation may use; 0: no limit */
  int slots, hours_per_day;
  int64_t bytes_per_day;
} FleetCapacity;

typedef struct Fleet Fleet;

/* text: a fleet.yaml, or NULL: coordinator.yaml's databases alone. name: of the file, for messages. ERR_CONFIG with
 * file and line. *notes: new reference, an array of {"line", "message"} (line 0: not of the document): policies that
 * match nothing, databases that no policy matches, at most FLEET_NOTES_LIMIT of them. */
Status fleet_make(const CoordinatorConfig *config, const char *name, const char *text, size_t size, Fleet **out,
                  json_t **notes, Error *err) MUST_CHECK;
/* The same of the file that coordinator.yaml names, if it names one. */
Status fleet_load(const CoordinatorConfig *config, Fleet **out, json_t **notes, Error *err) MUST_CHECK;
void fleet_free(Fleet *fleet); /* NULL is fine */

/* The one lookup of databases by name. NULL: there is none. */
const FleetDatabase *fleet_database(const Fleet *fleet, const char *name);
const ConfigDatabase *fleet_config(const Fleet *fleet, const char *name); /* the same, its ConfigDatabase */

/* In the order of their names. */
size_t fleet_count(const Fleet *fleet);
const FleetDatabase *fleet_at(const Fleet *fleet, size_t index);

/* The line of the policy that a database's drill_image is from; 0: it has none. */
int fleet_image_line(const Fleet *fleet, const FleetDatabase *database);

const FleetQuota *fleet_quota(const Fleet *fleet, const char *owner); /* NULL: none */
size_t fleet_quota_count(const Fleet *fleet);
const FleetQuota *fleet_quota_at(const Fleet *fleet, size_t index);
const FleetLimits *fleet_limits(const Fleet *fleet);
const FleetCapacity *fleet_capacity(const Fleet *fleet);
size_t fleet_policy_count(const Fleet *fleet); /* of the document */

/* ---- describe.c ---- */

/* A database's settings, one flat object: {"environment": ..., "schedule.cron": ...}; what is not set is left out.
 * New reference. */
json_t *fleet_describe(const FleetDatabase *database);
/* What applying `to` would change: {"added": [names], "removed": [names], "changed": [{"name", "settings": {SETTING:
 * {"from", "to"}}}], "fleet": {SETTING: {"from", "to"}}, "counts": {"added", "removed", "changed"}}. The lists are cut
 * at FLEET_LIST_LIMIT. New reference. */
enum { FLEET_LIST_LIMIT = 200 };
json_t *fleet_difference(const Fleet *from, const Fleet *to);

#endif
