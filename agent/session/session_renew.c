/* The certificate is renewed over the session that it opened the way for: no token, no person. The new one is on disk
 * before it is used, and the old one is good until the coordinator has heard that the new one is in use. */
#include "agent/session/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum { TRIES_IN_A_LIFE = 18 }; /* fewer than the coordinator allows */

static void again_later(Session *session) {
  int64_t life_us = session->identity.facts.expires_us - session->identity.facts.begins_us -
                    (int64_t)AUTHORITY_SKEW_SECONDS * 1000000;
  session->next_renew_us = clock_monotonic_us() + life_us / TRIES_IN_A_LIFE;
}

static void use(Session *session, const Pgseal__Certified *certified) {
  Error err;
  Status status = identity_replace(&session->identity, session->config, session->new_key, certified->certificate, &err);
  BusTls tls = identity_tls(&session->identity);
  if (!status)
    status = bus_client_admit(session->bus, &tls, &err);
  if (status) {
    log_failure(LOG_LEVEL_ERROR, "the new certificate cannot be used", &err);
    again_later(session);
    return;
  }
  char when[CLOCK_TEXT_SIZE];
  log_info("the certificate is renewed", "until", clock_format(session->identity.facts.expires_us, when), NULL);
  session->next_renew_us = 0;
  session->tell_certificate = true;
}

static void on_certified(void *user, const Error *err, const uint8_t *data, size_t size) {
  Session *session = user;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_CERTIFIED, NULL);
  session->certifying = false;
  if (envelope && *envelope->certified->certificate && session->new_key)
    use(session, envelope->certified);
  else if (session->new_key)
    again_later(session);
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
  secret_text_free(&session->new_key);
}

static void on_told(void *user, const Error *err, const uint8_t *data, size_t size) {
  Session *session = user;
  Status why = STATUS_OK;
  Pgseal__Envelope *envelope = session_reply(session, err, data, size, PGSEAL__ENVELOPE__BODY_CERTIFIED, &why);
  session->certifying = false;
  session->tell_certificate = !envelope && why != ERR_PROTOCOL; /* an older coordinator does not know the question */
  if (envelope)
    pgseal__envelope__free_unpacked(envelope, NULL);
}

static void certify(Session *session, Pgseal__Certify *message, BusReplyCallback *callback) {
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.body_case = PGSEAL__ENVELOPE__BODY_CERTIFY;
  envelope.certify = message;
  session->certifying = true;
  session_request(session, &envelope, SESSION_REQUEST_MS, callback, session);
}

void session_renew(Session *session) {
  if (!session->identity.authority || session->certifying)
    return;
  Pgseal__Certify message = PGSEAL__CERTIFY__INIT;
  if (session->tell_certificate) {
    message.in_use = session->identity.facts.serial;
    certify(session, &message, on_told);
    return;
  }
  if (clock_wall_us() < identity_renew_us(&session->identity) || clock_monotonic_us() < session->next_renew_us)
    return;
  char *request = NULL;
  Error err;
  if (certificate_request(session->config->name, &session->new_key, &request, &err) != STATUS_OK) {
    log_failure(LOG_LEVEL_ERROR, "no new certificate can be asked for", &err);
    again_later(session);
    return;
  }
  message.request = request;
  certify(session, &message, on_certified);
  free(request);
}
