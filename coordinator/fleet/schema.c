#include "coordinator/fleet/schema.h"

#include "common/config/yaml.h"

enum { DATABASE_LIMIT = 100000, POLICY_LIMIT = 1000, LIST_LIMIT = 1000, TEXT_LIMIT = 4096 };

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, OPTIONAL, type, member, 1, TEXT_LIMIT)
#define NAME(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, TEXT_LIMIT)
#define INT(key, type, member) CYAML_FIELD_INT_PTR(key, OPTIONAL, type, member)
#define PLAIN_INT(key, type, member) CYAML_FIELD_INT(key, CYAML_FLAG_OPTIONAL, type, member)
#define BOOL(key, type, member) CONFIG_FIELD_BOOL_PTR(key, type, member)
#define LIST(key, type, member, schema, limit) CYAML_FIELD_SEQUENCE(key, OPTIONAL, type, member, schema, 0, limit)
#define SECTION(key, type, member, fields) CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, type, member, fields)

static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_LIMIT)};

static const cyaml_schema_field_t database_fields[] = {
    NAME("name", RawFleetDatabase, name),
    TEXT("environment", RawFleetDatabase, environment),
    TEXT("owner", RawFleetDatabase, owner),
    TEXT("host", RawFleetDatabase, host),
    LIST("labels", RawFleetDatabase, labels, &text_schema, LIST_LIMIT),
    LIST("assertions", RawFleetDatabase, assertions, &config_assertion_schema, LIST_LIMIT),
    SECTION("budgets", RawFleetDatabase, budgets, config_budgets_fields),
    CYAML_FIELD_MAPPING_PTR("lock", OPTIONAL, RawFleetDatabase, lock, config_lock_fields),
    BOOL("restore_approval", RawFleetDatabase, restore_approval),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t database_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawFleetDatabase, database_fields)};

static const cyaml_schema_field_t match_fields[] = {
    LIST("names", RawMatch, names, &text_schema, LIST_LIMIT),
    LIST("labels", RawMatch, labels, &text_schema, LIST_LIMIT),
    LIST("environments", RawMatch, environments, &text_schema, LIST_LIMIT),
    LIST("owners", RawMatch, owners, &text_schema, LIST_LIMIT),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t schedule_fields[] = {
    TEXT("cron", RawSchedule, cron),
    TEXT("time_zone", RawSchedule, time_zone),
    INT("jitter_seconds", RawSchedule, jitter_seconds),
    TEXT("missed", RawSchedule, missed),
    BOOL("overlap", RawSchedule, overlap),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t drill_fields[] = {
    TEXT("image", RawDrill, image),
    LIST("assertions", RawDrill, assertions, &config_assertion_schema, LIST_LIMIT),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t tag_fields[] = {
    NAME("match", RetentionTag, match),
    CYAML_FIELD_INT("keep_days", CYAML_FLAG_DEFAULT, RetentionTag, keep_days),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t tag_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RetentionTag, tag_fields)};

static const cyaml_schema_field_t retention_fields[] = {
    INT("last", RawRetention, last),
    INT("hourly", RawRetention, hourly),
    INT("daily", RawRetention, daily),
    INT("weekly", RawRetention, weekly),
    INT("monthly", RawRetention, monthly),
    INT("yearly", RawRetention, yearly),
    INT("grace_hours", RawRetention, grace_hours),
    LIST("tags", RawRetention, tags, &tag_schema, LIST_LIMIT),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t rotation_fields[] = {
    TEXT("proof_age", RawRotation, proof_age),
    LIST("kinds", RawRotation, kinds, &text_schema, LIST_LIMIT),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t objectives_fields[] = {
    TEXT("proof_age", RawObjectives, proof_age),
    TEXT("restore_time", RawObjectives, restore_time),
    TEXT("data_loss", RawObjectives, data_loss),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t policy_fields[] = {
    NAME("name", RawPolicy, name),
    SECTION("match", RawPolicy, match, match_fields),
    SECTION("schedule", RawPolicy, schedule, schedule_fields),
    SECTION("drill", RawPolicy, drill, drill_fields),
    SECTION("budgets", RawPolicy, budgets, config_budgets_fields),
    CYAML_FIELD_MAPPING_PTR("lock", OPTIONAL, RawPolicy, lock, config_lock_fields),
    BOOL("restore_approval", RawPolicy, restore_approval),
    CYAML_FIELD_MAPPING_PTR("retention", OPTIONAL, RawPolicy, retention, retention_fields),
    SECTION("rotation", RawPolicy, rotation, rotation_fields),
    SECTION("objectives", RawPolicy, objectives, objectives_fields),
    LIST("alerts", RawPolicy, alerts, &text_schema, LIST_LIMIT),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t policy_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawPolicy, policy_fields)};

static const cyaml_schema_field_t quota_fields[] = {
    NAME("owner", RawQuota, owner),
    PLAIN_INT("queued", RawQuota, queued),
    PLAIN_INT("running", RawQuota, running),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t quota_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawQuota, quota_fields)};

static const cyaml_schema_field_t limits_fields[] = {
    PLAIN_INT("running", FleetLimits, running),
    PLAIN_INT("host_running", FleetLimits, host_running),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t capacity_fields[] = {
    PLAIN_INT("slots", RawCapacity, slots),
    PLAIN_INT("hours_per_day", RawCapacity, hours_per_day),
    PLAIN_INT("gigabytes_per_day", RawCapacity, gigabytes_per_day),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fleet_fields[] = {
    LIST("databases", RawFleet, databases, &database_schema, DATABASE_LIMIT),
    LIST("policies", RawFleet, policies, &policy_schema, POLICY_LIMIT),
    LIST("quotas", RawFleet, quotas, &quota_schema, LIST_LIMIT),
    SECTION("limits", RawFleet, limits, limits_fields),
    SECTION("rotation", RawFleet, rotation, capacity_fields),
    CYAML_FIELD_END,
};
const cyaml_schema_value_t fleet_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, RawFleet, fleet_fields)};
