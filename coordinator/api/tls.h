/*
 * The certificate and key of the API (PEM files), for libmicrohttpd, which does TLS with GnuTLS. Loaded anew while the
 * daemon runs: connections keep what they began with, new ones get what is newest. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_API_TLS_H
#define PGSEAL_COORDINATOR_API_TLS_H

#include <gnutls/abstract.h>
#include <stdint.h>

#include "common/base/error.h"

/* TLS 1.2 and later. */
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

enum { TLS_CHAIN_LIMIT = 16 };

typedef struct Credentials {
  int references;
  gnutls_pcert_st chain[TLS_CHAIN_LIMIT];
  unsigned count;
  gnutls_privkey_t key;
  int64_t expires_us; /* of the first certificate */
  char *names;        /* for the log: whom it is for; owned */
} Credentials;

/* ERR_CONFIG if they cannot be read, or do not belong together. An expired certificate is loaded: clients will say so,
 * and so does tls_log. *out has one reference. */
Status tls_load(const char *certificate, const char *key, Credentials **out, Error *err) MUST_CHECK;
Credentials *tls_reference(Credentials *credentials); /* NULL is fine */
void tls_release(Credentials *credentials);           /* NULL is fine */
void tls_log(const Credentials *credentials, const char *certificate);

/* What tells that a file is another one: of its device, inode, size and times. 0 if it is not there. */
uint64_t tls_stamp(const char *certificate, const char *key);

#endif
