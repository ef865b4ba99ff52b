/* Permissions are what the server says when they are used: nothing is read off policies. */
#include <stdio.h>
#include <string.h>

#include "agent/doctor/doctor.h"
#include "common/base/cleanup.h"
#include "common/base/id.h"
#include "common/base/memory.h"

static const char PROBE[] = "pgseal doctor was here; this may be deleted\n";
enum { PROBE_LIMIT = 4096 };

typedef struct Probe {
  Doctor *doctor;
  Repository *repository;
  RepositoryGuards guards;
  const char *key;
  RepositoryVersion first, second; /* where the bucket keeps them: what was stored, and what was stored over it */
  bool removed;
} Probe;

/* Not there, or not allowed to say so. */
static bool refused(Status status) {
  return status == ERR_REPOSITORY_REFUSED;
}

/* Where versions are not kept any more, all have this one name. */
static bool is_version(const RepositoryVersion *version) {
  return *version->id && strcmp(version->id, "null") != 0;
}

static bool probe_put(Probe *probe) {
  Error err;
  if (repository_put_version(probe->repository, probe->key, PROBE, sizeof PROBE - 1, &probe->first, &err) !=
      STATUS_OK) {
    doctor_error(probe->doctor, "repository: may it write?", &err);
    return false;
  }
  doctor_say(probe->doctor, FINDING_OK, "repository", "it writes to %s", repository_description(probe->repository));
  return true;
}

/* What makes a seal worth something: an object that is there is never replaced. */
static void probe_overwrite(Probe *probe) {
  Error err;
  Status status = repository_put_version(probe->repository, probe->key, "x", 1, &probe->second, &err);
  if (status == ERR_OBJECT_EXISTS || refused(status)) {
    doctor_say(probe->doctor, FINDING_OK, "repository", "what is stored is not overwritten");
    return;
  }
  if (status != STATUS_OK) {
    doctor_error(probe->doctor, "repository: is anything overwritten?", &err);
    return;
  }
  if (is_version(&probe->first)) {
    doctor_say(probe->doctor, FINDING_WARN, "repository",
               "this server ignores `If-None-Match: *` in a bucket that keeps versions, and this key may not look "
               "first: a second put hides what is stored, which stays as a version");
    doctor_remedy("A drill notices what is hidden. Who may delete versions can remove what hides it.");
    return;
  }
  doctor_say(probe->doctor, FINDING_BAD, "repository", "%s was overwritten: this server ignores `If-None-Match: *`",
             probe->key);
  doctor_remedy("Use a server that knows conditional writes, or a bucket with versioning and Object Lock.");
}

static void probe_get(Probe *probe) {
  const AgentConfig *config = probe->doctor->config;
  CLEANUP(buffer_release) Buffer found = {0};
  Error err;
  Status status = repository_get(probe->repository, probe->key, PROBE_LIMIT, &found, &err);
  bool same = status == STATUS_OK && found.size == sizeof PROBE - 1 && memcmp(found.data, PROBE, found.size) == 0;
  bool reads = config->can_drill || config->can_restore || config->can_rehearse;
  if (reads && status != STATUS_OK)
    doctor_error(probe->doctor, "repository: may it read?", &err);
  else if (status == STATUS_OK && !same)
    doctor_say(probe->doctor, FINDING_BAD, "repository", "what was written is not what is read");
  else if (reads)
    doctor_say(probe->doctor, FINDING_OK, "repository", "it reads what it wrote");
  else if (status == STATUS_OK && !config->repository_directory) {
    doctor_say(probe->doctor, FINDING_WARN, "repository",
               "this key may read, which an agent that only dumps never needs");
    doctor_remedy("Take s3:GetObject from it: docs/repository.md has the policy of a dump agent.");
  } else if (status != STATUS_OK && !refused(status)) {
    doctor_error(probe->doctor, "repository: may it read?", &err);
  } else {
    doctor_say(probe->doctor, FINDING_OK, "repository", "it may not read: right for an agent that only dumps");
  }
}

/* Not told: what must not stay, if it may be taken away. */
static bool clear(Probe *probe, const RepositoryVersion *version) {
  Error ignored;
  RepositoryRemoval removal = {.version = version->id, .bypass = probe->guards.lock != REPOSITORY_NO};
  if (!is_version(version) || repository_remove_as(probe->repository, probe->key, &removal, &ignored) == STATUS_OK)
    return true;
  removal.bypass = false;
  return repository_remove_as(probe->repository, probe->key, &removal, &ignored) == STATUS_OK;
}

static void probe_remove(Probe *probe) {
  bool directory = probe->doctor->config->repository_directory, versions = is_version(&probe->first);
  Error err;
  RepositoryRemoval removal = {0};
  Status status = repository_remove_as(probe->repository, probe->key, &removal, &err);
  probe->removed = status == STATUS_OK && !versions;
  if (refused(status)) {
    doctor_say(probe->doctor, FINDING_OK, "repository", "it may not delete");
  } else if (status != STATUS_OK) {
    doctor_error(probe->doctor, "repository: may it delete?", &err);
  } else if (directory) {
    doctor_say(probe->doctor, FINDING_WARN, "repository",
               "a directory: whoever has this agent's user can delete from it");
    doctor_remedy(
        "For production, use a bucket with Object Lock whose key may not delete, or copy the directory away.");
  } else {
    bool prunes = probe->doctor->config->can_prune;
    doctor_say(probe->doctor, FINDING_WARN, "repository", "this key may delete, %s%s",
               prunes ? "and store: whoever has this agent has both" : "which no agent needs",
               versions ? ": here that hides an object, which stays as a version" : "");
    if (prunes)
      doctor_remedy("Let an agent of its own prune, with a key under deploy/policies/prune.json.");
    else
      doctor_remedy(
          "Take s3:DeleteObject from it: docs/repository.md has the policies. Deleting is for the prune agent.");
  }
  if (versions)
    probe->removed =
        doctor_bucket_version(probe->doctor, probe->repository, &probe->guards, probe->key, probe->first.id);
  probe->removed = clear(probe, &probe->second) && clear(probe, &removal.mark) && probe->removed;
}

/* An agent that only restores has no business with writing. */
static void probe_reader(Probe *probe) {
  CLEANUP(buffer_release) Buffer found = {0};
  Error err;
  Status status = repository_get(probe->repository, probe->key, PROBE_LIMIT, &found, &err);
  if (status != STATUS_OK && status != ERR_OBJECT_NOT_FOUND) {
    doctor_error(probe->doctor, "repository: may it read?", &err);
    return;
  }
  doctor_say(probe->doctor, FINDING_OK, "repository", "it may read %s", repository_description(probe->repository));
  if (probe->doctor->config->repository_directory)
    return;
  status = repository_put_version(probe->repository, probe->key, PROBE, sizeof PROBE - 1, &probe->first, &err);
  if (refused(status)) {
    doctor_say(probe->doctor, FINDING_OK, "repository", "it may not write: right for an agent that only restores");
  } else if (status != STATUS_OK) {
    doctor_error(probe->doctor, "repository: may it write?", &err);
  } else {
    doctor_say(probe->doctor, FINDING_WARN, "repository",
               "this key may write, which an agent that only restores never needs");
    doctor_remedy("Give it the policy deploy/policies/restore.json (docs/repository.md).");
    if (repository_remove(probe->repository, probe->key, &err) != STATUS_OK || !clear(probe, &probe->first))
      doctor_remedy("The probe stays behind: %s (%zu bytes).", probe->key, sizeof PROBE - 1);
  }
}

void doctor_repository(Doctor *doctor) {
  Repository *repository = NULL;
  Error err;
  if (agent_config_repository(doctor->config, &repository, &err) != STATUS_OK) {
    doctor_error(doctor, "repository", &err);
    return;
  }
  /* Where a proof would be, as the policy of drill agents has it; a dump agent's covers that, too. */
  CLEANUP_FREE char *key = memory_format("doctor/%s/attempt-1/proofs/probe", id_new().text);
  Probe probe = {.doctor = doctor, .repository = repository, .key = key};
  if (doctor->config->can_prune && !doctor->config->can_dump && !doctor->config->can_drill &&
      !doctor->config->can_restore) {
    doctor_pruner(doctor, repository, key);
  } else if (!doctor->config->can_dump && !doctor->config->can_drill) {
    probe_reader(&probe);
  } else if ((doctor->config->repository_directory || doctor_bucket(doctor, repository, &probe.guards)) &&
             probe_put(&probe)) {
    probe_get(&probe);
    probe_overwrite(&probe);
    probe_remove(&probe);
    if (!probe.removed)
      doctor_remedy("The probe stays behind: %s (%zu bytes).", key, sizeof PROBE - 1);
  }
  repository_close(repository);
}
