/* fleet.yaml as libcyaml loads it. Internal to coordinator/fleet. */
#ifndef PGSEAL_COORDINATOR_FLEET_SCHEMA_H
#define PGSEAL_COORDINATOR_FLEET_SCHEMA_H

#include "coordinator/config_schema.h"
#include "coordinator/fleet/fleet.h"

typedef struct RawFleetDatabase {
  char *name, *environment, *owner, *host;
  char **labels;
  unsigned labels_count;
  ConfigAssertion *assertions;
  unsigned assertions_count;
  RawBudgets budgets;
  RawLock *lock;
  bool *restore_approval;
} RawFleetDatabase;

typedef struct RawMatch {
  char **names, **labels, **environments, **owners;
  unsigned names_count, labels_count, environments_count, owners_count;
} RawMatch;

typedef struct RawSchedule {
  char *cron, *time_zone, *missed;
  int *jitter_seconds;
  bool *overlap;
} RawSchedule;

typedef struct RawDrill {
  char *image;
  ConfigAssertion *assertions;
  unsigned assertions_count;
} RawDrill;

typedef struct RawRetention {
  int *last, *hourly, *daily, *weekly, *monthly, *yearly, *grace_hours;
  RetentionTag *tags;
  unsigned tags_count;
} RawRetention;

typedef struct RawRotation {
  char *proof_age;
  char **kinds;
  unsigned kinds_count;
} RawRotation;

typedef struct RawObjectives {
  char *proof_age, *restore_time, *data_loss;
} RawObjectives;

typedef struct RawPolicy {
  char *name;
  RawMatch match;
  RawSchedule schedule;
  RawDrill drill;
  RawBudgets budgets;
  RawLock *lock;
  bool *restore_approval;
  RawRetention *retention;
  RawRotation rotation;
  RawObjectives objectives;
  char **alerts;
  unsigned alerts_count;
} RawPolicy;

typedef struct RawQuota {
  char *owner;
  int queued, running;
} RawQuota;

typedef struct RawCapacity {
  int slots, hours_per_day, gigabytes_per_day;
} RawCapacity;

typedef struct RawFleet {
  RawFleetDatabase *databases;
  unsigned databases_count;
  RawPolicy *policies;
  unsigned policies_count;
  RawQuota *quotas;
  unsigned quotas_count;
  FleetLimits limits;
  RawCapacity rotation;
} RawFleet;

extern const cyaml_schema_value_t fleet_schema;

#endif
