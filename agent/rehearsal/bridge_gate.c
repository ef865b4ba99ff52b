#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/rehearsal/bridge.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"
#include "common/crypto/self_signed.h"

enum { GATE_TICK_US = 100000, GATE_SECONDS = 20 };

static Status run_with(PGconn *session, const char *format, const char *role, Error *err) {
  char *name = PQescapeIdentifier(session, role, strlen(role));
  CLEANUP(buffer_release) Buffer sql = {0};
  for (const char *at = format; *at; at++)
    if (*at == '?')
      buffer_append_text(&sql, name ? name : "\"\"");
    else
      buffer_append_byte(&sql, (uint8_t)*at);
  PQfreemem(name);
  return postgres_query(session, NULL, err, buffer_text(&sql));
}

/* The server never sees the password itself. */
static Status make_role(Rehearsal *rehearsal, PGconn *session, Error *err) {
  const char *as = rehearsal->request.role;
  char password[REHEARSAL_MAC_SIZE];
  rehearsal_password(rehearsal->request.secret, rehearsal->context->job->id, password);
  char *verifier = PQencryptPasswordConn(session, password, BRIDGE_ROLE, "scram-sha-256");
  explicit_bzero(password, sizeof password);
  if (!verifier)
    return error_set(err, ERR_INTERNAL, "the rehearsal's role gets no password: %s", PQerrorMessage(session));
  CLEANUP_FREE char *create =
      memory_format("CREATE ROLE " BRIDGE_ROLE " LOGIN %s PASSWORD '%s'", as ? "NOSUPERUSER" : "SUPERUSER", verifier);
  PQfreemem(verifier);
  Status status = postgres_query(session, NULL, err, create);
  if (status != STATUS_OK || !as)
    return status;
  status = run_with(session, "GRANT ? TO " BRIDGE_ROLE, as, err);
  if (status == STATUS_OK)
    status = run_with(session, "ALTER ROLE " BRIDGE_ROLE " SET role = ?", as, err);
  if (status == STATUS_OK || status == ERR_DATABASE_LOST)
    return status;
  error_set(err, ERR_INVALID_ARGUMENT, "the copy has no role %s that a migration could run as", as);
  error_remedy(err, "Name a role of the database's server, and checkpoint the database with `roles: all`.");
  error_object(err, "%s", as);
  return err->status;
}

/* From here on only the bootstrap role, which the bridge lets nobody be, comes in without a password. */
static Status shut(PGconn *session, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(session, &result, err, "SHOW hba_file");
  if (status != STATUS_OK)
    return status;
  const char *path = PQgetvalue(result, 0, 0);
  char *literal = PQescapeLiteral(session, path, strlen(path));
  CLEANUP_FREE char *sql = memory_format("COPY (VALUES ('local all " BRIDGE_ROLE " scram-sha-256'),"
                                         " ('local all all trust')) TO %s",
                                         literal ? literal : "''");
  PQfreemem(literal);
  status = postgres_query(session, NULL, err, sql);
  return status == STATUS_OK ? postgres_query(session, NULL, err, "SELECT pg_catalog.pg_reload_conf()") : status;
}

/* The server takes up its new file in its own time: nobody is let in before it did. */
static Status await_shut(Rehearsal *rehearsal, Error *err) {
  int64_t deadline = clock_monotonic_us() + (int64_t)GATE_SECONDS * 1000000;
  Conninfo *conninfo = NULL;
  Status status = drill_conninfo(&rehearsal->drill, rehearsal->drill.database_name, &conninfo, err);
  if (status != STATUS_OK)
    return status;
  conninfo_set(conninfo, "user", BRIDGE_ROLE);
  while (status == STATUS_OK) {
    CLEANUP(postgres_close) PGconn *session = NULL;
    Error refused;
    if (postgres_connect_plainly(conninfo, "pgseal rehearse", &session, &refused) == ERR_DATABASE_REFUSED)
      break;
    status = rehearsal_check(rehearsal, err);
    if (status == STATUS_OK && clock_monotonic_us() > deadline)
      status = error_set(err, ERR_CLUSTER_START, "the copy lets its migration's role in without a password");
    usleep(GATE_TICK_US);
  }
  conninfo_free(conninfo);
  return status;
}

static Status make_tls(const char *key_pem, const char *certificate_pem, SSL_CTX **out, Error *err) {
  BIO *key_text = BIO_new_mem_buf(key_pem, -1), *certificate_text = BIO_new_mem_buf(certificate_pem, -1);
  EVP_PKEY *key = key_text ? PEM_read_bio_PrivateKey(key_text, NULL, NULL, NULL) : NULL;
  X509 *certificate = certificate_text ? PEM_read_bio_X509(certificate_text, NULL, NULL, NULL) : NULL;
  SSL_CTX *tls = SSL_CTX_new(TLS_server_method());
  bool good = tls && key && certificate && SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION) == 1 &&
              SSL_CTX_use_certificate(tls, certificate) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1 &&
              SSL_CTX_set_num_tickets(tls, 0) == 1;
  BIO_free(key_text);
  BIO_free(certificate_text);
  EVP_PKEY_free(key);
  X509_free(certificate);
  ERR_clear_error();
  if (good) {
    *out = tls;
    return STATUS_OK;
  }
  SSL_CTX_free(tls);
  return error_set(err, ERR_INTERNAL, "TLS 1.3 is not to be had from OpenSSL");
}

static Status make_offer(Rehearsal *rehearsal, SSL_CTX **tls, Pgseal__TunnelOffer *offer, Error *err) {
  CLEANUP(secret_text_free) char *key = NULL;
  CLEANUP_FREE char *certificate = NULL;
  Status status = certificate_self_signed("pgseal rehearsal", &key, &certificate, err);
  if (status == STATUS_OK)
    status = make_tls(key, certificate, tls, err);
  if (status != STATUS_OK)
    return status;
  char mac[REHEARSAL_MAC_SIZE];
  rehearsal_offer_mac(rehearsal->request.secret, rehearsal->context->job->id, certificate, BRIDGE_ROLE,
                      rehearsal->drill.database_name, mac);
  pgseal__tunnel_offer__init(offer);
  offer->certificate = STEAL(certificate);
  offer->mac = memory_strdup(mac);
  offer->role = memory_strdup(BRIDGE_ROLE);
  offer->database = memory_strdup(rehearsal->drill.database_name);
  offer->seconds = (uint32_t)rehearsal->request.keep_seconds;
  return STATUS_OK;
}

void bridge_offer_release(Pgseal__TunnelOffer *offer) {
  char *owned[] = {offer->certificate, offer->mac, offer->role, offer->database};
  for (size_t i = 0; i < ARRAY_SIZE(owned); i++)
    if (owned[i] != protobuf_c_empty_string)
      free(owned[i]);
}

Status bridge_gate_open(Rehearsal *rehearsal, SSL_CTX **tls, Pgseal__TunnelOffer *offer, Error *err) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  DrillRun *drill = &rehearsal->drill;
  Status status = drill_connect(drill, drill->database_name, &session, err);
  if (status == STATUS_OK)
    status = make_role(rehearsal, session, err);
  if (status == STATUS_OK)
    status = shut(session, err);
  if (status == STATUS_OK)
    status = await_shut(rehearsal, err);
  if (status != STATUS_OK)
    return drill_blame_cluster(drill, err);
  return make_offer(rehearsal, tls, offer, err);
}

Status bridge_gate_close(Rehearsal *rehearsal, Error *err) {
  static const char end_sql[] = "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(a.pid))"
                                " FROM pg_catalog.pg_stat_activity a WHERE a.usename = '" BRIDGE_ROLE "'";
  CLEANUP(postgres_close) PGconn *session = NULL;
  DrillRun *drill = &rehearsal->drill;
  int64_t deadline = clock_monotonic_us() + (int64_t)GATE_SECONDS * 1000000;
  Status status = drill_connect(drill, drill->database_name, &session, err);
  while (status == STATUS_OK) {
    CLEANUP(postgres_clear) PGresult *result = NULL;
    status = postgres_query(session, &result, err, end_sql);
    if (status == STATUS_OK && strcmp(PQgetvalue(result, 0, 0), "0") == 0)
      return STATUS_OK;
    if (status == STATUS_OK)
      status = job_check(rehearsal->context, err);
    if (status == STATUS_OK && clock_monotonic_us() > deadline)
      status = error_set(err, ERR_TIMEOUT, "the migration's sessions in the copy do not end");
    usleep(GATE_TICK_US);
  }
  return drill_blame_cluster(drill, err);
}
