#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/doctor/doctor.h"
#include "common/base/clock.h"
#include "common/rehearsal/secret.h"

enum { EXPIRES_SOON_DAYS = 30 };
static const int64_t DAY_US = (int64_t)86400 * 1000000;

/* A private key that others may read is a key that others have. */
static void check_mode(Doctor *doctor, const char *what, const char *path) {
  struct stat info;
  if (stat(path, &info) != 0 || (info.st_mode & 077) == 0)
    return;
  doctor_say(doctor, FINDING_WARN, what, "%s may be read by others (mode %04o)", path, info.st_mode & 07777);
  doctor_remedy("chmod 600 %s", path);
}

static void check_certificates(Doctor *doctor, const Recipients *recipients) {
  int64_t now = clock_wall_us();
  for (size_t i = 0; i < recipients_count(recipients); i++) {
    int64_t left = (recipients_not_after(recipients, i) - now) / DAY_US;
    if (left < EXPIRES_SOON_DAYS) {
      doctor_say(doctor, FINDING_WARN, "recipient", "%s %s", doctor->config->recipients[i],
                 left < 0 ? "has expired" : "expires within a month");
      doctor_remedy("Checkpoints stay readable by its key. Make a new pair (pgseal key generate --kind recipient), add "
                    "its certificate to `keys.recipients`, and keep the old key as long as its checkpoints.");
    }
  }
  if (recipients_count(recipients) == 1) {
    doctor_say(doctor, FINDING_WARN, "recipients", "only one key opens what this agent stores");
    doctor_remedy("Add the certificate of a second key that lies in a safe (pgseal key generate --kind recipient --out "
                  "escrow): whoever loses the only one loses every checkpoint.");
  }
}

static void check_rehearse(Doctor *doctor) {
  const char *path = doctor->config->rehearse.secret_file;
  RehearsalSecret *secret = NULL;
  Error err;
  if (rehearsal_secret_load(path, &secret, &err))
    doctor_error(doctor, "rehearsal's secret", &err);
  else
    doctor_say(doctor, FINDING_OK, "rehearsal's secret", "%s", path);
  rehearsal_secret_free(secret);
}

void doctor_keys(Doctor *doctor) {
  const AgentConfig *config = doctor->config;
  Error err;
  SigningKey *signer = NULL;
  if (signing_key_load(config->signing_key, &signer, &err))
    doctor_error(doctor, "signing key", &err);
  else
    doctor_say(doctor, FINDING_OK, "signing key", "%s", config->signing_key);
  signing_key_free(signer);
  check_mode(doctor, "signing key", config->signing_key);
  if (config->recipient_count == 0) /* it prunes, and stores nothing */
    return;
  Recipients *recipients = NULL;
  if (recipients_load(config->recipients, config->recipient_count, &recipients, &err)) {
    doctor_error(doctor, "recipients", &err);
  } else {
    doctor_say(doctor, FINDING_OK, "recipients", "%zu can open what is stored", recipients_count(recipients));
    check_certificates(doctor, recipients);
  }
  recipients_free(recipients);
  if (config->can_rehearse)
    check_rehearse(doctor);
  if (!config->decryption_key)
    return;
  DecryptionKey *key = NULL;
  if (decryption_key_load(config->decryption_key, config->decryption_certificate, &key, &err))
    doctor_error(doctor, "decryption key", &err);
  else if (config->can_drill || config->can_restore || config->can_rehearse)
    doctor_say(doctor, FINDING_OK, "decryption key", "%s", config->decryption_key);
  else
    doctor_say(doctor, FINDING_WARN, "decryption key",
               "an agent that only dumps needs none: it could read every "
               "checkpoint");
  decryption_key_free(key);
  check_mode(doctor, "decryption key", config->decryption_key);
}
