/* The deployment's authority: what it issues is what OpenSSL's own verification takes, for one purpose only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"

typedef struct Fixture {
  char dir[64], key[96], certificate[96];
  Authority *authority;
} Fixture;

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  Error err;
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-ca.XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->key, sizeof f->key, "%s/ca.key", f->dir);
  snprintf(f->certificate, sizeof f->certificate, "%s/ca.crt", f->dir);
  assert_int_equal(authority_generate(f->key, f->certificate, "a deployment", 10, &err), STATUS_OK);
  assert_int_equal(authority_load(f->certificate, f->key, &f->authority, &err), STATUS_OK);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  Error err;
  authority_free(f->authority);
  assert_int_equal(file_remove_tree(f->dir, &err), STATUS_OK);
  free(f);
  return 0;
}

static X509 *parse(const char *pem) {
  BIO *bio = BIO_new_mem_buf(pem, -1);
  X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);
  BIO_free(bio);
  assert_non_null(certificate);
  return certificate;
}

/* Does OpenSSL take it for this purpose? crl NULL: without. */
static bool verifies(const Fixture *f, const char *pem, int purpose, const char *crl_pem) {
  X509 *ca = parse(authority_pem(f->authority)), *certificate = parse(pem);
  X509_STORE *store = X509_STORE_new();
  X509_STORE_add_cert(store, ca);
  if (crl_pem) {
    BIO *bio = BIO_new_mem_buf(crl_pem, -1);
    X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
    assert_non_null(crl);
    X509_STORE_add_crl(store, crl);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    X509_CRL_free(crl);
    BIO_free(bio);
  }
  X509_STORE_CTX *context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, certificate, NULL);
  X509_STORE_CTX_set_purpose(context, purpose);
  bool good = X509_verify_cert(context) == 1;
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  X509_free(certificate);
  X509_free(ca);
  return good;
}

static Status issue(const Fixture *f, int64_t seconds, Issued *issued, Error *err) {
  CLEANUP(secret_text_free) char *key = NULL;
  CLEANUP_FREE char *request = NULL;
  assert_int_equal(certificate_request("agent-1", &key, &request, err), STATUS_OK);
  assert_non_null(strstr(key, "PRIVATE KEY"));
  return authority_issue_agent(f->authority, request, "agent-1", seconds, issued, err);
}

static void test_nothing_is_overwritten(void **state) {
  Fixture *f = *state;
  Error err;
  struct stat info;
  assert_int_equal(stat(f->key, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0600);
  assert_int_equal(authority_generate(f->key, f->certificate, "again", 10, &err), ERR_OBJECT_EXISTS);
}

static void test_agents_are_clients_alone(void **state) {
  Fixture *f = *state;
  CLEANUP(issued_release) Issued issued = {0};
  CertificateFacts facts;
  Error err;
  assert_int_equal(issue(f, 100, &issued, &err), STATUS_OK);
  assert_true(verifies(f, issued.pem, X509_PURPOSE_SSL_CLIENT, NULL));
  assert_false(verifies(f, issued.pem, X509_PURPOSE_SSL_SERVER, NULL));
  assert_int_equal(certificate_facts(issued.pem, &facts, &err), STATUS_OK);
  assert_string_equal(facts.name, "agent-1");
  assert_string_equal(facts.serial, issued.serial);
  assert_true(facts.expires_us == issued.expires_us);
  assert_true(llabs(issued.expires_us - clock_wall_us() - 100 * 1000000LL) < 5 * 1000000LL);
  assert_true(facts.begins_us < clock_wall_us());
}

static void test_coordinators_are_servers_alone(void **state) {
  Fixture *f = *state;
  char key[96], path[96];
  Error err;
  const char *hosts[] = {"pgseal.example.org", "10.1.2.3", "::1"}, *bad[] = {"evil,DNS:other"};
  snprintf(key, sizeof key, "%s/c.key", f->dir);
  snprintf(path, sizeof path, "%s/c.crt", f->dir);
  assert_int_equal(authority_issue_coordinator(f->authority, key, path, bad, 1, 5, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(authority_issue_coordinator(f->authority, key, path, hosts, 3, 5, &err), STATUS_OK);
  CLEANUP_FREE char *pem = NULL;
  assert_int_equal(file_read_text(path, PEM_LIMIT, &pem, &err), STATUS_OK);
  assert_true(verifies(f, pem, X509_PURPOSE_SSL_SERVER, NULL));
  assert_false(verifies(f, pem, X509_PURPOSE_SSL_CLIENT, NULL));
  X509 *certificate = parse(pem);
  assert_int_equal(X509_check_host(certificate, "pgseal.example.org", 0, 0, NULL), 1);
  assert_int_equal(X509_check_host(certificate, AUTHORITY_COORDINATOR_NAME, 0, 0, NULL), 1);
  assert_int_equal(X509_check_ip_asc(certificate, "10.1.2.3", 0), 1);
  assert_int_equal(X509_check_ip_asc(certificate, "::1", 0), 1);
  assert_int_equal(X509_check_host(certificate, "other", 0, 0, NULL), 0);
  X509_free(certificate);
}

static void test_revocations(void **state) {
  Fixture *f = *state;
  CLEANUP(issued_release) Issued one = {0};
  CLEANUP(issued_release) Issued two = {0};
  CLEANUP_FREE char *crl = NULL;
  CLEANUP_FREE char *none = NULL;
  Error err;
  assert_int_equal(issue(f, 100, &one, &err), STATUS_OK);
  assert_int_equal(issue(f, 100, &two, &err), STATUS_OK);
  assert_string_not_equal(one.serial, two.serial);
  const char *serials[] = {one.serial};
  assert_int_equal(authority_revocations(f->authority, serials, 1, &crl, &err), STATUS_OK);
  assert_int_equal(authority_revocations(f->authority, NULL, 0, &none, &err), STATUS_OK);
  assert_true(verifies(f, one.pem, X509_PURPOSE_SSL_CLIENT, none));
  assert_false(verifies(f, one.pem, X509_PURPOSE_SSL_CLIENT, crl));
  assert_true(verifies(f, two.pem, X509_PURPOSE_SSL_CLIENT, crl));
}

static void test_requests_are_checked(void **state) {
  Fixture *f = *state;
  CLEANUP(secret_text_free) char *key = NULL;
  CLEANUP_FREE char *request = NULL;
  Issued issued = {0};
  Error err;
  assert_int_equal(authority_issue_agent(f->authority, "", "a", 10, &issued, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(
      authority_issue_agent(f->authority, "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", "a", 10, &issued, &err),
      ERR_INVALID_ARGUMENT);
  assert_int_equal(certificate_request("agent-1", &key, &request, &err), STATUS_OK);
  char *end = strstr(request, "\n-----END"); /* the signature's last bytes */
  end[-8] = end[-8] == 'A' ? 'B' : 'A';
  assert_int_equal(authority_issue_agent(f->authority, request, "a", 10, &issued, &err), ERR_INVALID_ARGUMENT);
  Authority *keyless = NULL;
  assert_int_equal(authority_load(f->certificate, NULL, &keyless, &err), STATUS_OK);
  assert_int_equal(authority_issue_agent(keyless, request, "a", 10, &issued, &err), ERR_CONFIG);
  char one[SHA256_HEX_SIZE], two[SHA256_HEX_SIZE];
  authority_fingerprint(keyless, one);
  assert_int_equal(authority_fingerprint_of(authority_pem(f->authority), two, &err), STATUS_OK);
  assert_string_equal(one, two);
  authority_free(keyless);
}

static void test_files_that_are_none(void **state) {
  Fixture *f = *state;
  char other[96], other_key[96];
  Authority *authority = NULL;
  Error err;
  snprintf(other, sizeof other, "%s/other.crt", f->dir);
  snprintf(other_key, sizeof other_key, "%s/other.key", f->dir);
  assert_int_equal(authority_load("/nonexistent", NULL, &authority, &err), ERR_NOT_FOUND);
  assert_int_equal(authority_load(f->key, NULL, &authority, &err), ERR_KEY_UNREADABLE);
  assert_int_equal(authority_generate(other_key, other, "b", 10, &err), STATUS_OK);
  assert_int_equal(authority_load(f->certificate, other_key, &authority, &err), ERR_KEY_UNREADABLE);
  assert_non_null(strstr(err.message, "other.key"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_nothing_is_overwritten, setup, teardown),
      cmocka_unit_test_setup_teardown(test_agents_are_clients_alone, setup, teardown),
      cmocka_unit_test_setup_teardown(test_coordinators_are_servers_alone, setup, teardown),
      cmocka_unit_test_setup_teardown(test_revocations, setup, teardown),
      cmocka_unit_test_setup_teardown(test_requests_are_checked, setup, teardown),
      cmocka_unit_test_setup_teardown(test_files_that_are_none, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
