/* Everything but what is of one database. */
#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/metrics/internal.h"

enum { KINDS = 32 };

static void one(Buffer *out, MetricsFamily family, double value) {
  text_family(out, family);
  text_sample(out, family, "", value);
}

/* ---- the process ---- */

static double open_files(void) {
  DIR *dir = opendir("/proc/self/fd");
  double count = -1; /* the directory's own */
  if (!dir)
    return 0;
  for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
    count += entry->d_name[0] != '.';
  closedir(dir);
  return count;
}

static void write_process(const Metrics *metrics, Buffer *out) {
  struct rusage usage = {0};
  size_t memory = 0;
  getrusage(RUSAGE_SELF, &usage);
  uv_resident_set_memory(&memory);
  text_family(out, METRICS_BUILD_INFO);
  text_sample_of(out, METRICS_BUILD_INFO, "version", PGSEAL_VERSION, 1);
  one(out, METRICS_PROCESS_START, (double)(metrics->started_us / 1000) / 1e3);
  one(out, METRICS_PROCESS_CPU,
      (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
          (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
  one(out, METRICS_PROCESS_MEMORY, (double)memory);
  one(out, METRICS_PROCESS_FILES, open_files());
}

/* ---- events ---- */

static Status write_events(const Metrics *metrics, Buffer *out, Error *err) {
  const Counters *counters = &metrics->counters;
  int64_t sequence = 0;
  Status status = ledger_sequence(metrics->ledger, &sequence, err);
  if (status != STATUS_OK)
    return status;
  one(out, METRICS_LEDGER_EVENTS, (double)sequence);
  text_family(out, METRICS_EVENTS);
  for (size_t i = 0; i < counters->kind_count; i++)
    text_sample_of(out, METRICS_EVENTS, "kind", counters->kinds[i].kind, (double)counters->kinds[i].count);
  text_family(out, METRICS_DRILLS);
  for (int i = 0; i < COUNTED_OUTCOMES; i++)
    text_sample_of(out, METRICS_DRILLS, "outcome", counted_drills[i], (double)counters->drills[i]);
  return STATUS_OK;
}

/* ---- jobs ---- */

typedef struct JobCounts {
  const Agents *agents;
  size_t queued[KINDS], running[KINDS], approvals;
  int64_t oldest_us[KINDS]; /* of those queued; 0: none */
  size_t *of_agent;         /* by the agent's index; owned */
} JobCounts;

static void count_job(void *user, const LedgerJob *job) {
  JobCounts *counts = user;
  if ((unsigned)job->kind >= KINDS)
    return;
  if (job->state != JOB_QUEUED) {
    const Agent *agent = job->agent ? agents_find(counts->agents, job->agent) : NULL;
    counts->running[job->kind]++;
    if (agent)
      counts->of_agent[agent->index]++;
  } else if (job->approval && strcmp(job->approval, "needed") == 0) {
    counts->approvals++;
  } else {
    int64_t *oldest = &counts->oldest_us[job->kind];
    counts->queued[job->kind]++;
    *oldest = *oldest == 0 || job->created_us < *oldest ? job->created_us : *oldest;
  }
}

static bool is_kind(int kind) {
  return strcmp(ledger_job_kind_name((LedgerJobKind)kind), "unknown") != 0;
}

static void write_jobs(const Metrics *metrics, const JobCounts *counts, Buffer *out) {
  int64_t now_us = dispatch_wall_us(metrics->dispatch);
  one(out, METRICS_LEADS, dispatch_leads(metrics->dispatch));
  text_family(out, METRICS_JOBS);
  for (int kind = 0; kind < KINDS; kind++) {
    const char *name = ledger_job_kind_name((LedgerJobKind)kind);
    for (int running = 0; is_kind(kind) && running < 2; running++) {
      CLEANUP_FREE char *labels = memory_format("kind=\"%s\",state=\"%s\"", name, running ? "running" : "queued");
      text_sample(out, METRICS_JOBS, labels, (double)(running ? counts->running : counts->queued)[kind]);
    }
  }
  text_family(out, METRICS_JOBS_OLDEST);
  for (int kind = 0; kind < KINDS; kind++) {
    int64_t oldest_us = counts->oldest_us[kind], age_us = oldest_us && now_us > oldest_us ? now_us - oldest_us : 0;
    if (is_kind(kind))
      text_sample_of(out, METRICS_JOBS_OLDEST, "kind", ledger_job_kind_name((LedgerJobKind)kind),
                     (double)(age_us / 1000000));
  }
  one(out, METRICS_JOBS_APPROVAL, (double)counts->approvals);
}

/* ---- the fleet ---- */

static void write_traces(const Metrics *metrics, Buffer *out) {
  TracesNumbers numbers;
  if (!traces_numbers(metrics->traces, &numbers))
    return;
  text_family(out, METRICS_TRACES_SPANS);
  text_sample_of(out, METRICS_TRACES_SPANS, "result", "sent", (double)numbers.sent);
  text_sample_of(out, METRICS_TRACES_SPANS, "result", "refused", (double)numbers.refused);
  text_sample_of(out, METRICS_TRACES_SPANS, "result", "dropped", (double)numbers.dropped);
  one(out, METRICS_TRACES_QUEUED, (double)numbers.queued);
}

static void write_fleet(const Metrics *metrics, const OverviewRow *rows, size_t count, Buffer *out) {
  one(out, METRICS_FLEET_PAUSED, dispatch_held(metrics->dispatch, HOLD_FLEET, "") != NULL);
  one(out, METRICS_FLEET_PROBLEM, dispatch_fleet_problem(metrics->dispatch) != NULL);
  if (metrics->rotation) {
    RotationNumbers numbers = rotation_numbers(metrics->rotation);
    if (numbers.known) {
      one(out, METRICS_ROTATION_LOAD, numbers.load);
      one(out, METRICS_ROTATION_LATE, (double)numbers.late);
    }
    one(out, METRICS_ROTATION_RUNNING, (double)numbers.running);
    if (numbers.foreseen)
      one(out, METRICS_ROTATION_FORECAST, (double)numbers.missed);
  }
  write_traces(metrics, out);
  one(out, METRICS_DATABASES, (double)count);
  text_family(out, METRICS_DATABASES_ATTENTION);
  for (int bit = 0; bit < OVERVIEW_ATTENTIONS; bit++) {
    size_t with = 0;
    for (size_t i = 0; i < count; i++)
      with += (rows[i].attention & 1u << bit) != 0;
    text_sample_of(out, METRICS_DATABASES_ATTENTION, "reason", overview_attention_name((OverviewAttention)(1u << bit)),
                   (double)with);
  }
}

/* ---- agents ---- */

static const char *version_of(const LedgerAgent *seen, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(seen[i].name, name) == 0)
      return seen[i].version ? seen[i].version : "";
  return "";
}

static void write_agent(const Metrics *metrics, const Agent *agent, const char *version, const JobCounts *counts,
                        MetricsFamily family, Buffer *out) {
  const char *name = agent->who.name;
  if (family == METRICS_AGENT_INFO) {
    CLEANUP(buffer_release) Buffer labels = {0};
    text_label(&labels, "agent", name);
    text_label((buffer_append_byte(&labels, ','), &labels), "version", version);
    text_label((buffer_append_byte(&labels, ','), &labels), "state",
               agent->listed ? "listed" : agent_state_name(agent->row.state));
    text_sample(out, family, buffer_text(&labels), 1);
  } else if (family == METRICS_AGENT_LIVE) {
    text_sample_of(out, family, "agent", name, dispatch_agent_live(metrics->dispatch, name));
  } else if (family == METRICS_AGENT_DRAINED) {
    text_sample_of(out, family, "agent", name, dispatch_held(metrics->dispatch, HOLD_AGENT, name) != NULL);
  } else if (family == METRICS_AGENT_JOBS) {
    text_sample_of(out, family, "agent", name, (double)counts->of_agent[agent->index]);
  } else if (agent->row.serial) {
    text_sample_of(out, family, "agent", name, (double)(agent->row.expires_us / 1000000));
  }
}

static void write_two(Buffer *out, MetricsFamily family, const char *agent, const char *label, const char *value,
                      double number) {
  CLEANUP(buffer_release) Buffer labels = {0};
  text_label(&labels, "agent", agent);
  text_label((buffer_append_byte(&labels, ','), &labels), label, value);
  text_sample(out, family, buffer_text(&labels), number);
}

static void write_machine(const AgentMachine *machine, const char *agent, MetricsFamily family, Buffer *out) {
  if (family == METRICS_AGENT_LOAD)
    text_sample_of(out, family, "agent", agent, machine->load1);
  else if (family == METRICS_AGENT_CPUS)
    text_sample_of(out, family, "agent", agent, (double)machine->cpus);
  else if (family == METRICS_AGENT_MEMORY)
    text_sample_of(out, family, "agent", agent, (double)machine->memory_total);
  else if (family == METRICS_AGENT_MEMORY_FREE)
    text_sample_of(out, family, "agent", agent, (double)machine->memory_available);
  bool slots = family == METRICS_AGENT_SLOTS || family == METRICS_AGENT_SLOTS_USED;
  bool disks = family == METRICS_AGENT_DISK || family == METRICS_AGENT_DISK_FREE;
  for (size_t i = 0; slots && i < machine->slot_count; i++)
    write_two(out, family, agent, "capability", machine->slots[i].capability,
              (double)(family == METRICS_AGENT_SLOTS ? machine->slots[i].total : machine->slots[i].used));
  for (size_t i = 0; disks && i < machine->disk_count; i++)
    write_two(out, family, agent, "place", machine->disks[i].places,
              (double)(family == METRICS_AGENT_DISK ? machine->disks[i].total_bytes : machine->disks[i].free_bytes));
}

static void write_machines(const Metrics *metrics, const Agents *agents, Buffer *out) {
  for (MetricsFamily family = METRICS_AGENT_LOAD; family <= METRICS_AGENT_DISK_FREE; family++) {
    text_family(out, family);
    for (size_t i = 0; i < agents_count(agents); i++) {
      const char *name = agents_at(agents, i)->who.name;
      int64_t age_us = 0;
      const AgentMachine *machine = dispatch_machine(metrics->dispatch, name, &age_us);
      if (machine)
        write_machine(machine, name, family, out);
    }
  }
}

static Status write_agents(const Metrics *metrics, const JobCounts *counts, Buffer *out, Error *err) {
  LedgerAgent *seen = NULL;
  size_t seen_count = 0;
  Status status = ledger_agent_list(metrics->ledger, &seen, &seen_count, err);
  if (status != STATUS_OK)
    return status;
  for (MetricsFamily family = METRICS_AGENT_INFO; family <= METRICS_AGENT_EXPIRY; family++) {
    text_family(out, family);
    for (size_t i = 0; i < agents_count(counts->agents); i++) {
      const Agent *agent = agents_at(counts->agents, i);
      if (agent_admitted(agent))
        write_agent(metrics, agent, family == METRICS_AGENT_INFO ? version_of(seen, seen_count, agent->who.name) : "",
                    counts, family, out);
    }
  }
  ledger_agent_list_free(seen, seen_count);
  write_machines(metrics, counts->agents, out);
  return STATUS_OK;
}

Status fleet_text(Metrics *metrics, const OverviewRow *rows, size_t count, Buffer *out, Error *err) {
  JobCounts counts = {.agents = dispatch_agents(metrics->dispatch)};
  counts.of_agent = memory_alloc((agents_count(counts.agents) + 1) * sizeof *counts.of_agent);
  write_process(metrics, out);
  Status status = write_events(metrics, out, err);
  if (status == STATUS_OK)
    status = dispatch_walk_jobs(metrics->dispatch, count_job, &counts, err);
  if (status == STATUS_OK) {
    write_jobs(metrics, &counts, out);
    write_fleet(metrics, rows, count, out);
    status = write_agents(metrics, &counts, out, err);
  }
  free(counts.of_agent);
  return status;
}
