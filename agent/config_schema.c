#include "agent/config_schema.h"

enum { TEXT_LIMIT = 4096, LIST_LIMIT = 10000 };

/* Types of the anonymous members, for libcyaml's offsets. */
typedef __typeof__(((RawAgentConfig *)0)->agent) RawAgent;
typedef __typeof__(((RawAgentConfig *)0)->agent.slots) RawSlots;
typedef __typeof__(((RawAgentConfig *)0)->keys) RawKeys;
typedef __typeof__(((RawAgentConfig *)0)->postgres) RawPostgres;
typedef __typeof__(((RawAgentConfig *)0)->drill) RawDrill;
typedef __typeof__(((RawAgentConfig *)0)->rehearse) RawRehearse;
typedef __typeof__(((RawAgentConfig *)0)->segments) RawSegments;
typedef __typeof__(((RawAgentConfig *)0)->log) RawLog;

#define TEXT(key, type, member) CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER, type, member, 1, TEXT_LIMIT)
#define OPTIONAL_TEXT(key, type, member)                                                                               \
  CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, 1, TEXT_LIMIT)
#define OPTIONAL_INT(key, type, member) CYAML_FIELD_INT_PTR(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member)
#define LIST(key, type, member, schema, low)                                                                           \
  CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER, type, member, schema, low, LIST_LIMIT)
#define OPTIONAL_LIST(key, type, member, schema)                                                                       \
  CYAML_FIELD_SEQUENCE(key, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, type, member, schema, 0, LIST_LIMIT)
#define OPTIONAL_MAPPING(key, type, member, fields) CYAML_FIELD_MAPPING(key, CYAML_FLAG_OPTIONAL, type, member, fields)

static const cyaml_schema_value_t text_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 1, TEXT_LIMIT)};

static const cyaml_schema_field_t slots_fields[] = {
    OPTIONAL_INT("dump", RawSlots, dump),         OPTIONAL_INT("drill", RawSlots, drill),
    OPTIONAL_INT("restore", RawSlots, restore),   OPTIONAL_INT("prune", RawSlots, prune),
    OPTIONAL_INT("rehearse", RawSlots, rehearse), CYAML_FIELD_END};

static const cyaml_schema_field_t tls_fields[] = {TEXT("ca", RawTls, ca), TEXT("identity", RawTls, identity),
                                                  CYAML_FIELD_END};

static const cyaml_schema_field_t agent_fields[] = {
    TEXT("name", RawAgent, name),
    LIST("coordinators", RawAgent, coordinators, &text_schema, 1),
    TEXT("data", RawAgent, data),
    TEXT("signing_key", RawAgent, signing_key),
    LIST("capabilities", RawAgent, capabilities, &text_schema, 1),
    OPTIONAL_MAPPING("slots", RawAgent, slots, slots_fields),
    CYAML_FIELD_MAPPING_PTR("tls", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, RawAgent, tls, tls_fields),
    CYAML_FIELD_END};

static const cyaml_schema_field_t keys_fields[] = {
    OPTIONAL_LIST("recipients", RawKeys, recipients, &text_schema),
    OPTIONAL_TEXT("decryption_key", RawKeys, decryption_key),
    OPTIONAL_TEXT("decryption_certificate", RawKeys, decryption_certificate), CYAML_FIELD_END};

static const cyaml_schema_field_t bin_dir_fields[] = {CYAML_FIELD_INT("major", CYAML_FLAG_DEFAULT, RawMajorPath, major),
                                                      TEXT("path", RawMajorPath, path), CYAML_FIELD_END};
static const cyaml_schema_value_t bin_dir_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawMajorPath, bin_dir_fields)};
static const cyaml_schema_field_t postgres_fields[] = {
    OPTIONAL_LIST("bin_dirs", RawPostgres, bin_dirs, &bin_dir_schema), CYAML_FIELD_END};

static const cyaml_schema_field_t image_fields[] = {CYAML_FIELD_INT("major", CYAML_FLAG_DEFAULT, RawMajorPath, major),
                                                    TEXT("image", RawMajorPath, path), CYAML_FIELD_END};
static const cyaml_schema_value_t image_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawMajorPath, image_fields)};

static const cyaml_schema_field_t database_fields[] = {
    TEXT("name", RawAgentDatabase, name), TEXT("conninfo_file", RawAgentDatabase, conninfo_file),
    OPTIONAL_TEXT("restore_conninfo_file", RawAgentDatabase, restore_conninfo_file),
    OPTIONAL_TEXT("roles", RawAgentDatabase, roles), CYAML_FIELD_END};
static const cyaml_schema_value_t database_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, RawAgentDatabase, database_fields)};

static const cyaml_schema_field_t drill_fields[] = {OPTIONAL_TEXT("engine", RawDrill, engine),
                                                    OPTIONAL_TEXT("socket", RawDrill, socket),
                                                    OPTIONAL_LIST("images", RawDrill, images, &image_schema),
                                                    OPTIONAL_LIST("allow_images", RawDrill, allow_images, &text_schema),
                                                    OPTIONAL_INT("memory_mb", RawDrill, memory_mb),
                                                    OPTIONAL_INT("cpus", RawDrill, cpus),
                                                    OPTIONAL_INT("jobs", RawDrill, jobs),
                                                    OPTIONAL_INT("tmpfs_mb", RawDrill, tmpfs_mb),
                                                    OPTIONAL_TEXT("local_user", RawDrill, local_user),
                                                    CYAML_FIELD_END};

static const cyaml_schema_field_t rehearse_fields[] = {OPTIONAL_TEXT("secret_file", RawRehearse, secret_file),
                                                       OPTIONAL_INT("keep_seconds", RawRehearse, keep_seconds),
                                                       CYAML_FIELD_END};

static const cyaml_schema_field_t segments_fields[] = {OPTIONAL_INT("size_mb", RawSegments, size_mb),
                                                       OPTIONAL_INT("zstd_level", RawSegments, zstd_level),
                                                       OPTIONAL_INT("workers", RawSegments, workers), CYAML_FIELD_END};

static const cyaml_schema_field_t log_fields[] = {OPTIONAL_TEXT("level", RawLog, level),
                                                  OPTIONAL_TEXT("format", RawLog, format), CYAML_FIELD_END};

static const cyaml_schema_field_t config_fields[] = {
    CYAML_FIELD_MAPPING("agent", CYAML_FLAG_DEFAULT, RawAgentConfig, agent, agent_fields),
    CYAML_FIELD_MAPPING("repository", CYAML_FLAG_DEFAULT, RawAgentConfig, repository, repository_config_fields),
    OPTIONAL_MAPPING("keys", RawAgentConfig, keys, keys_fields),
    OPTIONAL_MAPPING("postgres", RawAgentConfig, postgres, postgres_fields),
    OPTIONAL_LIST("databases", RawAgentConfig, databases, &database_schema),
    OPTIONAL_MAPPING("drill", RawAgentConfig, drill, drill_fields),
    OPTIONAL_MAPPING("rehearse", RawAgentConfig, rehearse, rehearse_fields),
    OPTIONAL_MAPPING("segments", RawAgentConfig, segments, segments_fields),
    OPTIONAL_MAPPING("log", RawAgentConfig, log, log_fields),
    CYAML_FIELD_END};

const cyaml_schema_value_t agent_config_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, RawAgentConfig, config_fields)};
