/*
 * The deployment's certificate authority (X.509, RFC 5280; EC P-256, ECDSA with SHA-256): it admits coordinators and
 * agents to the bus, and nothing else. By OpenSSL. An Authority is read-only once loaded; any thread.
 *
 *   the authority's own   CA:TRUE, pathlen 0, keyCertSign + cRLSign
 *   a coordinator's       serverAuth; SANs: the hosts it serves as, and AUTHORITY_COORDINATOR_NAME
 *   an agent's            clientAuth; CN: the agent's name
 *
 * Agents check a coordinator by AUTHORITY_COORDINATOR_NAME, not by its host: all of a deployment's coordinators are
 * trusted alike, an agent's own certificate does not have it, and a coordinator may move to another address.
 */
#ifndef PGSEAL_COMMON_CRYPTO_AUTHORITY_H
#define PGSEAL_COMMON_CRYPTO_AUTHORITY_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/crypto/digest.h"

#define AUTHORITY_COORDINATOR_NAME "coordinator.pgseal.internal"

enum {
  SERIAL_HEX_SIZE = 41, /* at most 20 bytes */
  PEM_LIMIT = 64 << 10,
  AUTHORITY_SKEW_SECONDS = 3600 /* certificates are valid from so long before they are made: clocks differ */
};

typedef struct Authority Authority;

/* Makes both files (key 0600), never over existing ones: ERR_OBJECT_EXISTS. */
Status authority_generate(const char *key_path, const char *certificate_path, const char *common_name, int days,
                          Error *err) MUST_CHECK;
/* key_path NULL: it can be named and trusted, but issues nothing (ERR_CONFIG when asked to). */
Status authority_load(const char *certificate_path, const char *key_path, Authority **out, Error *err) MUST_CHECK;
void authority_free(Authority *authority);                                              /* NULL is fine */
const char *authority_pem(const Authority *authority);                                  /* its certificate */
void authority_fingerprint(const Authority *authority, char out[SHA256_HEX_SIZE]);      /* SHA-256 of the DER */
Status authority_fingerprint_of(const char *pem, char out[SHA256_HEX_SIZE], Error *err) /* of any certificate */
    MUST_CHECK;

bool authority_host_valid(const char *host); /* may a coordinator's certificate be for it? */
/* A coordinator's key and certificate, as files like authority_generate. hosts: DNS names or IP addresses. */
Status authority_issue_coordinator(const Authority *authority, const char *key_path, const char *certificate_path,
                                   const char *const *hosts, size_t count, int days, Error *err) MUST_CHECK;

typedef struct Issued {
  char *pem; /* owned */
  char serial[SERIAL_HEX_SIZE];
  int64_t expires_us; /* wall clock */
} Issued;
void issued_release(Issued *issued);
/* An agent's certificate. The request's signature is checked (RFC 2986: who sent it holds the key), and nothing but its
 * key is taken over: the name is the coordinator's to say. ERR_INVALID_ARGUMENT: not such a request, or its key is none
 * of EC P-256. */
Status authority_issue_agent(const Authority *authority, const char *request_pem, const char *name, int64_t seconds,
                             Issued *out, Error *err) MUST_CHECK;
/* The list of what is revoked (RFC 5280, 5), as PEM; freed by the caller. */
Status authority_revocations(const Authority *authority, const char *const *serials, size_t count, char **pem,
                             Error *err) MUST_CHECK;

/* The agent's side: a new key and a request for its certificate, both PEM, freed by the caller (the key by
 * secret_text_free). */
Status certificate_request(const char *name, char **key_pem, char **request_pem, Error *err) MUST_CHECK;
void secret_text_free(char **text); /* overwrites it first; for CLEANUP() too */

/* What a certificate says of itself; the first one in the text. */
typedef struct CertificateFacts {
  char serial[SERIAL_HEX_SIZE], name[65]; /* its CN */
  int64_t begins_us, expires_us;
} CertificateFacts;
Status certificate_facts(const char *pem, CertificateFacts *out, Error *err) MUST_CHECK;
bool certificate_has_key(const char *pem, const char *key_pem); /* is it that private key's? */

#endif
