/*
 * Every metric of /metrics, in the order in which they come: X(ID, "name", TYPE, "labels", "help"). docs/metrics.md is
 * made of this table by make/metrics-doc. Names stay: alert rules and dashboards of others are written with them.
 */
#ifndef PGSEAL_COORDINATOR_METRICS_FAMILIES_H
#define PGSEAL_COORDINATOR_METRICS_FAMILIES_H

/* clang-format off */
#define METRICS_FAMILIES(X) \
  X(BUILD_INFO, "pgseal_build_info", GAUGE, "version", "The version that runs; always 1.") \
  X(PROCESS_START, "process_start_time_seconds", GAUGE, "", "When the coordinator was started, in seconds since 1970.") \
  X(PROCESS_CPU, "process_cpu_seconds_total", COUNTER, "", "Processor time that the coordinator has used.") \
  X(PROCESS_MEMORY, "process_resident_memory_bytes", GAUGE, "", "Memory that the coordinator has resident.") \
  X(PROCESS_FILES, "process_open_fds", GAUGE, "", "File descriptors that the coordinator has open.") \
  X(LEDGER_EVENTS, "pgseal_ledger_events_total", COUNTER, "", "Events in the ledger: the sequence of the last one. Survives restarts.") \
  X(EVENTS, "pgseal_events_total", COUNTER, "kind", "Events that were written to the ledger since this coordinator was started, by kind (docs/ledger.md).") \
  X(DRILLS, "pgseal_drills_total", COUNTER, "outcome", "Drills that ended since this coordinator was started: proven, failed, errored or canceled.") \
  X(LEADS, "pgseal_coordinator_leads", GAUGE, "", "1: of several coordinators over one ledger, this one leads: it runs schedules, rotation and retention.") \
  X(JOBS, "pgseal_jobs", GAUGE, "kind, state", "Jobs that are open: queued (also those that wait to be tried again), or running.") \
  X(JOBS_OLDEST, "pgseal_jobs_oldest_queued_age_seconds", GAUGE, "kind", "How long the oldest job of those that are queued has been open; 0: none is.") \
  X(JOBS_APPROVAL, "pgseal_jobs_awaiting_approval", GAUGE, "", "Restores that wait for a second person.") \
  X(FLEET_PAUSED, "pgseal_fleet_paused", GAUGE, "", "1: the fleet is paused, and no dump, drill or prune begins.") \
  X(FLEET_PROBLEM, "pgseal_fleet_file_refused", GAUGE, "", "1: the fleet.yaml that coordinator.yaml names cannot be used, and an earlier document is in force.") \
  X(ROTATION_LOAD, "pgseal_rotation_load_ratio", GAUGE, "", "What keeping all proofs younger than their objectives needs of the budget; above 1 it cannot be done.") \
  X(ROTATION_LATE, "pgseal_rotation_late", GAUGE, "", "Proofs in the rotation that are older than their objectives.") \
  X(ROTATION_RUNNING, "pgseal_rotation_running", GAUGE, "", "Drills of the rotation that are under way.") \
  X(ROTATION_FORECAST, "pgseal_rotation_forecast_missed_databases", GAUGE, "", "Databases that will miss the objective of a proof by the last forecast.") \
  X(TRACES_SPANS, "pgseal_traces_spans_total", COUNTER, "result", "Spans of traces since this coordinator was started: sent, refused by the receiver, or dropped for want of room. Left out, as the next one, where no endpoint is named.") \
  X(TRACES_QUEUED, "pgseal_traces_queued_spans", GAUGE, "", "Spans of traces that wait for the receiver.") \
  X(DATABASES, "pgseal_databases", GAUGE, "", "Databases in the fleet.") \
  X(DATABASES_ATTENTION, "pgseal_databases_attention", GAUGE, "reason", "Databases that need attention, by reason: never_sealed, failing, proof_old, data_old, restore_slow. One may have several.") \
  X(AGENT_INFO, "pgseal_agent_info", GAUGE, "agent, version, state", "What an agent is; always 1. Those that were revoked or have expired are left out.") \
  X(AGENT_LIVE, "pgseal_agent_live", GAUGE, "agent", "1: the agent is connected.") \
  X(AGENT_DRAINED, "pgseal_agent_drained", GAUGE, "agent", "1: the agent is drained, and gets no more jobs.") \
  X(AGENT_JOBS, "pgseal_agent_jobs", GAUGE, "agent", "Jobs that the agent runs.") \
  X(AGENT_EXPIRY, "pgseal_agent_certificate_expiry_timestamp_seconds", GAUGE, "agent", "When the agent's certificate runs out; left out of those without one.") \
  X(AGENT_LOAD, "pgseal_agent_load1", GAUGE, "agent", "Load average of a minute on the agent's machine. This and what follows of agents is what they told last; left out of those that are not connected.") \
  X(AGENT_CPUS, "pgseal_agent_cpus", GAUGE, "agent", "Processors of that machine.") \
  X(AGENT_MEMORY, "pgseal_agent_memory_bytes", GAUGE, "agent", "Memory of that machine.") \
  X(AGENT_MEMORY_FREE, "pgseal_agent_memory_available_bytes", GAUGE, "agent", "Memory there that is available without swapping.") \
  X(AGENT_SLOTS, "pgseal_agent_slots", GAUGE, "agent, capability", "Jobs of a capability that the agent may run at once.") \
  X(AGENT_SLOTS_USED, "pgseal_agent_slots_used", GAUGE, "agent, capability", "Jobs that are in those slots.") \
  X(AGENT_DISK, "pgseal_agent_disk_bytes", GAUGE, "agent, place", "Size of a file system that the agent writes to. What is on it: data, drill, repository, or several of them (data+drill).") \
  X(AGENT_DISK_FREE, "pgseal_agent_disk_free_bytes", GAUGE, "agent, place", "What is free of it to the agent.") \
  X(DB_INFO, "pgseal_database_info", GAUGE, "database, environment, owner", "What a database is; always 1. The metrics below have the label database alone: join them with this one.") \
  X(DB_ATTENTION, "pgseal_database_attention", GAUGE, "database, reason", "1 for each reason why the database needs attention; else left out.") \
  X(DB_FAILURES, "pgseal_database_failures", GAUGE, "database", "Checkpoints that failed or errored since the newest sealed one.") \
  X(DB_CORDONED, "pgseal_database_cordoned", GAUGE, "database", "1: the database is cordoned.") \
  X(DB_SEALED_AT, "pgseal_database_last_sealed_timestamp_seconds", GAUGE, "database", "When the newest sealed checkpoint was sealed. This and what follows is left out while there is none.") \
  X(DB_PROVEN_AT, "pgseal_database_last_proof_timestamp_seconds", GAUGE, "database", "When that checkpoint was proven last: by a drill of rotation, that is later.") \
  X(DB_PROOF_AGE, "pgseal_database_proof_age_seconds", GAUGE, "database", "How old that proof is.") \
  X(DB_DATA_AGE, "pgseal_database_data_age_seconds", GAUGE, "database", "How long ago that checkpoint was asked for: what a restore would lose.") \
  X(DB_SIZE, "pgseal_database_size_bytes", GAUGE, "database", "Size of that checkpoint in the repository: compressed and encrypted.") \
  X(DB_ARCHIVE, "pgseal_database_archive_bytes", GAUGE, "database", "Size of that checkpoint's archive.") \
  X(DB_TABLES, "pgseal_database_tables", GAUGE, "database", "Tables in that checkpoint.") \
  X(DB_ROWS, "pgseal_database_rows", GAUGE, "database", "Rows in that checkpoint.") \
  X(DB_OMISSIONS, "pgseal_database_omissions", GAUGE, "database", "What a restore of that checkpoint does not bring back: how many entries the list has.") \
  X(DB_SECONDS, "pgseal_database_checkpoint_duration_seconds", GAUGE, "database", "From the request for that checkpoint to its seal.") \
  X(DB_DUMP, "pgseal_database_dump_duration_seconds", GAUGE, "database", "What its dump took.") \
  X(DB_DRILL, "pgseal_database_drill_duration_seconds", GAUGE, "database", "What the drill of its newest proof took: the time that a restore takes.") \
  X(DB_PROOF_OBJECTIVE, "pgseal_database_proof_age_objective_seconds", GAUGE, "database", "How old a proof may get, by policy; left out where nothing is said.") \
  X(DB_DATA_OBJECTIVE, "pgseal_database_data_loss_objective_seconds", GAUGE, "database", "How much a restore may lose, by policy; left out where nothing is said.") \
  X(DB_RESTORE_OBJECTIVE, "pgseal_database_restore_objective_seconds", GAUGE, "database", "How long a restore may take, by policy; left out where nothing is said.") \
  X(DB_NEXT_RUN, "pgseal_database_next_run_timestamp_seconds", GAUGE, "database", "When its schedule asks for the next checkpoint; left out where there is no schedule.") \
  X(DB_MISSED, "pgseal_database_schedule_missed_total", COUNTER, "database", "Runs of its schedule that were missed. Survives restarts; left out where there is no schedule.") \
  X(DB_SKIPPED, "pgseal_database_schedule_skipped_total", COUNTER, "database", "Runs of its schedule that were skipped. Survives restarts; left out where there is no schedule.") \
  X(DB_CHECKPOINTS, "pgseal_database_checkpoints_total", COUNTER, "database, outcome", "Checkpoints that ended since this coordinator was started: sealed, failed, errored or canceled.")
/* clang-format on */

typedef enum MetricsFamily {
#define METRICS_ID(id, name, type, labels, help) METRICS_##id,
  METRICS_FAMILIES(METRICS_ID)
#undef METRICS_ID
      METRICS_FAMILY_COUNT
} MetricsFamily;

#endif
