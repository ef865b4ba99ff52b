/* A bucket's own guards. What they are for: that what is stored outlives whoever comes by a key. */
#include <stdlib.h>
#include <string.h>

#include "agent/doctor/doctor.h"
#include "agent/session/look.h"
#include "common/base/clock.h"

enum { SKEW_SECONDS = 60 }; /* more is a clock that nobody keeps */

static void say_clock(Doctor *doctor, const RepositoryGuards *guards) {
  if (!guards->there_us)
    return;
  char here[CLOCK_TEXT_SIZE], there[CLOCK_TEXT_SIZE];
  long long seconds = llabs(guards->here_us - guards->there_us) / 1000000;
  bool wrong = seconds > SKEW_SECONDS;
  doctor_say(doctor, wrong ? FINDING_WARN : FINDING_OK, "clock", "it is %s here, and %s at the bucket's server%s",
             clock_format(guards->here_us, here), clock_format(guards->there_us, there), wrong ? "" : ": near enough");
  if (wrong)
    doctor_remedy("%lld seconds apart, and S3 refuses what is 15 minutes off. Set this clock, and keep it right by NTP "
                  "(or correct the server's).",
                  seconds);
}

static void say_versions(Doctor *doctor, RepositoryAnswer versions) {
  switch (versions) {
  case REPOSITORY_YES:
    doctor_say(doctor, FINDING_OK, "bucket", "it keeps versions: what is deleted or overwritten stays as one");
    break;
  case REPOSITORY_NO:
    doctor_say(doctor, FINDING_OK, "bucket", "it keeps no versions: what is deleted is gone");
    break;
  case REPOSITORY_FORBIDDEN:
    doctor_say(doctor, FINDING_OK, "bucket",
               "this key may not look whether it keeps versions (s3:GetBucketVersioning would allow that)");
    break;
  case REPOSITORY_UNKNOWN:
    doctor_say(doctor, FINDING_OK, "bucket", "the server does not say whether it keeps versions");
    break;
  }
}

static void say_unlocked(Doctor *doctor, const RepositoryGuards *guards) {
  if (guards->mode) {
    doctor_say(doctor, FINDING_BAD, "bucket", "lock_mode is %s, but it has no Object Lock: it refuses what is stored",
               guards->mode);
    doctor_remedy("Switch Object Lock on (with many servers: only when the bucket is made), or leave out lock_mode.");
    return;
  }
  doctor_say(doctor, FINDING_WARN, "bucket",
             "it has no Object Lock: whoever comes by a key that may delete can delete what is stored");
  doctor_remedy("Make a bucket with Object Lock, and set lock_mode and lock_days: docs/repository.md.");
}

static const char *plural(int count) {
  return count == 1 ? "" : "s";
}

static void say_locked(Doctor *doctor, const RepositoryGuards *guards) {
  if (guards->mode) {
    doctor_say(doctor, FINDING_OK, "bucket", "it has Object Lock: what this agent stores is locked for %d day%s (%s)",
               guards->days, plural(guards->days), guards->mode);
  } else if (*guards->default_mode) {
    doctor_say(doctor, FINDING_OK, "bucket",
               "it has Object Lock: what is stored is locked for %d day%s (%s, its default)", guards->default_days,
               plural(guards->default_days), guards->default_mode);
  } else {
    doctor_say(doctor, FINDING_WARN, "bucket",
               "it has Object Lock, but nothing is locked: it has no default, and the configuration no lock_mode");
    doctor_remedy("Set lock_mode and lock_days: docs/repository.md.");
  }
}

static void say_lock(Doctor *doctor, const RepositoryGuards *guards) {
  switch (guards->lock) {
  case REPOSITORY_YES:
    say_locked(doctor, guards);
    break;
  case REPOSITORY_NO:
    say_unlocked(doctor, guards);
    break;
  case REPOSITORY_FORBIDDEN:
    doctor_say(
        doctor, FINDING_OK, "bucket",
        "this key may not look whether it has Object Lock (s3:GetBucketObjectLockConfiguration would allow that)");
    break;
  case REPOSITORY_UNKNOWN:
    doctor_say(doctor, FINDING_OK, "bucket", "the server does not say whether it has Object Lock");
    break;
  }
}

bool doctor_bucket(Doctor *doctor, Repository *repository, RepositoryGuards *guards) {
  Error err;
  if (repository_guards(repository, guards, &err) != STATUS_OK) {
    doctor_error(doctor, "repository", &err);
    return false;
  }
  say_clock(doctor, guards);
  say_versions(doctor, guards->versions);
  say_lock(doctor, guards);
  return true;
}

/* In this mode a lock is for whoever may not get around it. */
static bool bypass(Doctor *doctor, Repository *repository, const char *key, const char *version) {
  RepositoryRemoval removal = {.version = version, .bypass = true};
  Error err;
  Status status = repository_remove_as(repository, key, &removal, &err);
  if (status == STATUS_OK) {
    doctor_say(doctor, FINDING_WARN, "repository",
               "but this key may get around the lock: asked to bypass GOVERNANCE, the server deleted the object");
    doctor_remedy("Take s3:BypassGovernanceRetention from it, or lock with COMPLIANCE, which nobody gets around.");
  } else if (status == ERR_REPOSITORY_REFUSED) {
    doctor_say(doctor, FINDING_OK, "repository", "it may not get around the lock");
  } else {
    doctor_error(doctor, "repository: may it get around the lock?", &err);
  }
  return status == STATUS_OK;
}

bool doctor_bucket_version(Doctor *doctor, Repository *repository, const RepositoryGuards *guards, const char *key,
                           const char *version) {
  int days = 0;
  const char *mode = repository_lock_of(guards, &days);
  RepositoryRemoval removal = {.version = version};
  Error err;
  Status status = repository_remove_as(repository, key, &removal, &err);
  if (status == ERR_REPOSITORY_REFUSED && mode) {
    doctor_say(
        doctor, FINDING_OK, "repository",
        "an object it stored is locked (%s): it survived its own uploader's attempt to overwrite and to delete it",
        mode);
    return strcmp(mode, "GOVERNANCE") == 0 && bypass(doctor, repository, key, version);
  }
  if (status == ERR_REPOSITORY_REFUSED) {
    doctor_say(doctor, FINDING_OK, "repository", "it may not delete versions: what it stored is still there");
  } else if (status != STATUS_OK) {
    doctor_error(doctor, "repository: may it delete versions?", &err);
  } else if (mode) {
    doctor_say(doctor, FINDING_BAD, "repository", "an object that is locked (%s) was deleted all the same", mode);
    doctor_remedy("This server's Object Lock does not hold: use another.");
  } else {
    doctor_say(doctor, FINDING_WARN, "repository", "this key may delete versions, too, and then nothing is left");
    doctor_remedy("Take s3:DeleteObjectVersion from it, or lock what is stored: docs/repository.md.");
  }
  return status == STATUS_OK;
}
