/*
 * Every error code of pgseal, once.
 *
 * X(NAME, "stable_code", CLASS, OUTCOME, "default remedy")
 *
 * NAME     becomes ERR_NAME.
 * code     is what the API, the ledger and the docs call it; it never changes once released.
 * CLASS    decides retry: TRANSIENT is tried again, PERMANENT is not, BUG is ours and never retried.
 * OUTCOME  is what a checkpoint or drill that ends on this error becomes: FAILED condemns the
 *          checkpoint, ERRORED says nothing about it, CANCELED was asked for.
 * remedy   is used where the place that found the error has nothing more precise to say.
 *
 * Keep the groups; add to the end of a group.
 */
#ifndef PGSEAL_COMMON_BASE_ERROR_CODES_H
#define PGSEAL_COMMON_BASE_ERROR_CODES_H

/* clang-format off */
#define PGSEAL_ERROR_CODES(X) \
  /* general */ \
  X(INTERNAL, "internal", BUG, ERRORED, "This is a defect of pgseal: report it with the log lines around it.") \
  X(NO_MEMORY, "no_memory", TRANSIENT, ERRORED, "Give the process more memory, or lower the number of parallel jobs.") \
  X(IO, "io", TRANSIENT, ERRORED, "Check the disk and the permissions of the path named.") \
  X(DISK_FULL, "disk_full", TRANSIENT, ERRORED, "Free space at the path named, or point it at a larger disk.") \
  X(INVALID_ARGUMENT, "invalid_argument", PERMANENT, ERRORED, "Correct the value named.") \
  X(CONFIG, "config", PERMANENT, ERRORED, "Correct the configuration at the file and line named.") \
  X(NOT_FOUND, "not_found", PERMANENT, ERRORED, "Check the name; `pgseal ledger` and `pgseal databases` list what exists.") \
  X(CONFLICT, "conflict", PERMANENT, ERRORED, "The object is not in a state that allows this; look at it with `pgseal show`.") \
  X(TIMEOUT, "timeout", TRANSIENT, ERRORED, "Raise the time budget, or find out what was slow.") \
  X(CANCELED, "canceled", PERMANENT, CANCELED, "Ask again when it is wanted.") \
  X(UNAVAILABLE, "unavailable", TRANSIENT, ERRORED, "Check that the service named is running and reachable.") \
  X(PROTOCOL, "protocol", PERMANENT, ERRORED, "Coordinator and agent must be of versions that understand each other.") \
  X(TOOL, "tool", TRANSIENT, ERRORED, "See the tool's own message.") \
  /* access */ \
  X(UNAUTHORIZED, "unauthorized", PERMANENT, ERRORED, "Pass a valid token: PGSEAL_TOKEN, or `Authorization: Bearer ...`.") \
  X(FORBIDDEN, "forbidden", PERMANENT, ERRORED, "Use a token or an agent that is allowed to do this.") \
  X(STALE_LEASE, "stale_lease", PERMANENT, ERRORED, "The job was given to another attempt; nothing is to be done.") \
  X(TOO_MANY, "too_many", TRANSIENT, ERRORED, "Wait a little and ask again.") \
  X(CONFIRMATION_NEEDED, "confirmation_needed", PERMANENT, ERRORED, "Look where it goes, then confirm it with the database's name.") \
  /* dispatch */ \
  X(NO_AGENT, "no_agent", TRANSIENT, ERRORED, "Start an agent with the capability named, or check `pgseal agents`.") \
  X(AGENT_LOST, "agent_lost", TRANSIENT, ERRORED, "See the agent's log; the job is tried again.") \
  /* source database and its tools */ \
  X(DATABASE_UNREACHABLE, "database_unreachable", TRANSIENT, ERRORED, "Check host, port, network and that the server is up.") \
  X(DATABASE_REFUSED, "database_refused", PERMANENT, ERRORED, "Check user, password, pg_hba.conf and the database's name.") \
  X(DATABASE_LOST, "database_lost", TRANSIENT, ERRORED, "The server closed the connection; see its log.") \
  X(QUERY, "query", PERMANENT, ERRORED, "See the server's message.") \
  X(TOOLS_MISSING, "tools_missing", PERMANENT, ERRORED, "Install the PostgreSQL client tools of the server's major version, or name their directory in `postgres.bin_dirs`.") \
  X(VERSION_MISMATCH, "version_mismatch", PERMANENT, ERRORED, "Use pg_dump and pg_restore of the server's own major version.") \
  X(TABLE_UNREADABLE, "table_unreadable", PERMANENT, FAILED, "GRANT SELECT on the table to pgseal's role (pg_read_all_data gives all of them).") \
  X(ROW_SECURITY, "row_security", PERMANENT, FAILED, "Give pgseal's role BYPASSRLS: a filtered dump is not a copy.") \
  X(LOCK_TIMEOUT, "lock_timeout", TRANSIENT, ERRORED, "Something holds a lock on the table; ask again when it is done, or raise `lock_timeout_seconds`.") \
  X(DUMP_FAILED, "dump_failed", PERMANENT, FAILED, "See pg_dump's message.") \
  X(SOURCE_COUNT_MISMATCH, "source_count_mismatch", PERMANENT, FAILED, "The dump does not hold the rows the source has in the same snapshot: report it; do not rely on this checkpoint.") \
  X(SOURCE_UNREPRESENTABLE, "source_unrepresentable", PERMANENT, ERRORED, "See the message; the source holds something pg_dump cannot carry.") \
  /* archive, segments, repository */ \
  X(ARCHIVE_FORMAT, "archive_format", PERMANENT, FAILED, "The archive is not a custom-format pg_dump archive that can be read.") \
  X(ARCHIVE_VERSION, "archive_version", PERMANENT, ERRORED, "Upgrade pgseal: it does not know this archive format version.") \
  X(SEGMENT_MISSING, "segment_missing", PERMANENT, FAILED, "An object of the checkpoint is gone from the repository: take a new checkpoint and find out what removed it.") \
  X(SEGMENT_CORRUPT, "segment_corrupt", PERMANENT, FAILED, "An object of the checkpoint was altered in the repository: take a new checkpoint and check the storage.") \
  X(MANIFEST_INVALID, "manifest_invalid", PERMANENT, FAILED, "The manifest was altered or is not signed by the agent that dumped: take a new checkpoint and check the storage.") \
  X(PROOF_INVALID, "proof_invalid", PERMANENT, ERRORED, "The proof is not signed by the agent that drilled: check the agents' keys.") \
  X(KEY_MISMATCH, "key_mismatch", PERMANENT, ERRORED, "The agent's decryption key is none of the checkpoint's recipients: give the agent the right key, or add its certificate to `keys.recipients` of the dump agents.") \
  X(KEY_UNREADABLE, "key_unreadable", PERMANENT, ERRORED, "Check the key's path, format (PEM) and permissions.") \
  X(OBJECT_EXISTS, "object_exists", PERMANENT, ERRORED, "Nothing in a repository is ever overwritten.") \
  X(OBJECT_NOT_FOUND, "object_not_found", PERMANENT, ERRORED, "Check the repository's location.") \
  X(REPOSITORY_UNAVAILABLE, "repository_unavailable", TRANSIENT, ERRORED, "Check the repository's location, credentials and that it is reachable.") \
  X(REPOSITORY_REFUSED, "repository_refused", PERMANENT, ERRORED, "See what the repository's server says; give the agent a key with the permission named.") \
  X(REPOSITORY_MISSING, "repository_missing", PERMANENT, ERRORED, "Create the bucket, or correct `bucket`, `endpoint` and `region` of the repository.") \
  /* drill */ \
  X(ENGINE_UNAVAILABLE, "engine_unavailable", TRANSIENT, ERRORED, "Start the container engine, correct `drill.socket`, or use `engine: local`.") \
  X(IMAGE_MISSING, "image_missing", PERMANENT, ERRORED, "Build or pull the image for this major version and name it in `drill.images`.") \
  X(CLUSTER_START, "cluster_start", TRANSIENT, ERRORED, "The disposable PostgreSQL did not start: see its log in the message.") \
  X(CLUSTER_LOST, "cluster_lost", TRANSIENT, ERRORED, "The disposable PostgreSQL ended in mid-drill (memory limit?): raise `drill.memory_mb`.") \
  X(EXTENSION_ABSENT, "extension_absent", PERMANENT, ERRORED, "Use a drill image that has the extension.") \
  X(LOCALE_ABSENT, "locale_absent", PERMANENT, ERRORED, "Use a drill image that has the locale.") \
  X(ROLE_MISSING, "role_missing", PERMANENT, FAILED, "The checkpoint does not hold the role: set `roles: all` for this database so that roles are part of it.") \
  X(RESTORE_DATA_LOST, "restore_data_lost", PERMANENT, FAILED, "The source holds rows that cannot be restored, for the reason in the server's message: mend the source, then take a new checkpoint.") \
  X(RESTORE_OBJECT_LOST, "restore_object_lost", PERMANENT, FAILED, "The source holds an object that cannot be restored, for the reason in the server's message: mend it there, then take a new checkpoint.") \
  X(RESTORE_GRANT_LOST, "restore_grant_lost", PERMANENT, FAILED, "A grant or an owner of the source cannot be restored, for the reason in the server's message: mend it there, then take a new checkpoint.") \
  X(ROUND_TRIP_DIFFERS, "round_trip_differs", PERMANENT, FAILED, "Do not rely on this checkpoint: `pgseal show` lists its differences. Triggers and functions in the source's constraints can make them; if there are none, report it.") \
  X(ASSERTION_FAILED, "assertion_failed", PERMANENT, FAILED, "See whether it holds in the source: mend the data there, or correct the assertion in the coordinator's configuration.") \
  X(ASSERTION_ERROR, "assertion_error", PERMANENT, ERRORED, "Correct the assertion's SQL in the coordinator's configuration; it runs read-only, on the restored copy.") \
  X(BUDGET_EXCEEDED, "budget_exceeded", PERMANENT, ERRORED, "Raise the budget named, or drill on a larger agent.") \
  X(CANARY_SURVIVED, "canary_survived", PERMANENT, FAILED, "This agent's drills do not see damage: find out why (its program, its tools, its image), drill what it proved on another agent, and then release it.") \
  X(CANARY_UNCLEAR, "canary_unclear", PERMANENT, ERRORED, "Drill the checkpoint itself: what was found is not the damage that was made.")
/* clang-format on */

#endif
