/* An agent that only prunes: it lists and deletes, and that is all. Tried on what is not there, so that nothing has to
 * be stored, which its key should not be able to. */
#include "agent/doctor/doctor.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static bool take_first(void *user, const RepositoryEntry *entry) {
  if (entry->mark)
    return true;
  *(char **)user = memory_strdup(entry->key);
  return false;
}

/* *first: some object, freed by the caller; NULL: there is none. */
static bool try_list(Doctor *doctor, Repository *repository, char **first) {
  Error err;
  if (repository_entries(repository, "", take_first, first, &err) != STATUS_OK) {
    doctor_error(doctor, "repository: may it list?", &err);
    return false;
  }
  doctor_say(doctor, FINDING_OK, "repository", "it may list %s", repository_description(repository));
  return true;
}

static void try_delete(Doctor *doctor, Repository *repository, const char *key) {
  RepositoryRemoval removal = {.version = "null"};
  Error err;
  Status status = repository_remove_as(repository, key, &removal, &err);
  if (status == STATUS_OK || status == ERR_OBJECT_NOT_FOUND)
    doctor_say(doctor, FINDING_OK, "repository", "it may delete versions");
  else
    doctor_error(doctor, "repository: may it delete?", &err);
}

/* first: of what is there, since of what is not some servers say so to whoever may list, too. */
static void try_rest(Doctor *doctor, Repository *repository, const char *key, const char *first) {
  CLEANUP(buffer_release) Buffer found = {0};
  Error err;
  bool reads = first && repository_get(repository, first, 1, &found, &err) != ERR_REPOSITORY_REFUSED;
  RepositoryVersion version;
  Status status = repository_put_version(repository, key, "", 0, &version, &err);
  bool stores = status != ERR_REPOSITORY_REFUSED;
  if (status == STATUS_OK) {
    RepositoryRemoval removal = {.version = *version.id ? version.id : NULL};
    status = repository_remove_as(repository, key, &removal, &err);
    if (status != STATUS_OK)
      doctor_remedy("The probe stays behind: %s.", key);
  }
  if (!reads && !stores) {
    doctor_say(doctor, FINDING_OK, "repository", "it may neither read nor store: right for an agent that only prunes");
    return;
  }
  doctor_say(doctor, FINDING_WARN, "repository", "this key may %s, which an agent that only prunes never needs",
             !stores  ? "read"
             : !reads ? "store"
                      : "read and store");
  doctor_remedy("Give it the policy deploy/policies/prune.json (docs/repository.md).");
}

void doctor_pruner(Doctor *doctor, Repository *repository, const char *key) {
  RepositoryGuards guards;
  CLEANUP_FREE char *first = NULL;
  if (doctor->config->repository_directory) {
    if (try_list(doctor, repository, &first))
      doctor_say(doctor, FINDING_OK, "repository", "a directory: whoever may write there may delete");
    return;
  }
  if (!doctor_bucket(doctor, repository, &guards) || !try_list(doctor, repository, &first))
    return;
  try_delete(doctor, repository, key);
  try_rest(doctor, repository, key, first);
}
