/*
 * The segment path alone: compress, encrypt, hash, put; or get, decrypt, decompress, hash.
 *   segments up REPOSITORY.yaml CERTIFICATE FILE SEGMENT_MB WORKERS PREFIX
 *   segments down REPOSITORY.yaml KEY FILE SEGMENT_MB WORKERS PREFIX      (FILE: what must come back)
 * Prints the highest resident set, in KiB.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/config/repository.h"
#include "common/crypto/digest.h"
#include "common/crypto/segment.h"

typedef struct Bench {
  bool up;
  Repository *repository;
  Recipients *recipients;
  DecryptionKey *key;
  const char *prefix;
  const uint8_t *data;
  size_t size, segment;
  atomic_size_t next;
} Bench;

static void check(Status status, const Error *err) {
  if (status == STATUS_OK)
    return;
  fprintf(stderr, "%s: %s\n", error_code(status), err->message);
  exit(1);
}

static void one_up(const Bench *bench, const char *key, size_t at, size_t size, Buffer *encoded) {
  Error err;
  uint8_t digest[SHA256_SIZE], plain[SHA256_SIZE];
  sha256(bench->data + at, size, plain);
  check(segment_encode(bench->recipients, 1, bench->data + at, size, encoded, &err), &err);
  sha256(encoded->data, encoded->size, digest);
  check(repository_put_hashed(bench->repository, key, encoded->data, encoded->size, digest, &err), &err);
}

static void one_down(const Bench *bench, const char *key, size_t at, size_t size, Buffer *encoded) {
  Error err;
  uint8_t digest[SHA256_SIZE];
  CLEANUP(buffer_release) Buffer plain = {0};
  check(repository_get(bench->repository, key, 2 * bench->segment, encoded, &err), &err);
  sha256(encoded->data, encoded->size, digest);
  check(segment_decode(bench->key, encoded->data, encoded->size, bench->segment, &plain, &err), &err);
  sha256(plain.data, plain.size, digest);
  if (plain.size != size || memcmp(plain.data, bench->data + at, size) != 0) {
    fprintf(stderr, "%s is not what was stored\n", key);
    exit(1);
  }
}

static void *work(void *user) {
  Bench *bench = user;
  CLEANUP(buffer_release) Buffer encoded = {0};
  for (size_t i; (i = atomic_fetch_add(&bench->next, 1)) * bench->segment < bench->size;) {
    size_t at = i * bench->segment, left = bench->size - at, size = left < bench->segment ? left : bench->segment;
    CLEANUP_FREE char *key = memory_format("%s/%06zu.zst.cms", bench->prefix, i);
    (bench->up ? one_up : one_down)(bench, key, at, size, &encoded);
  }
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 8)
    return 2;
  Error err;
  Bench bench = {.up = strcmp(argv[1], "up") == 0, .prefix = argv[7]};
  RepositoryConfig config = {0};
  check(repository_config_load(argv[2], &config, &err), &err);
  check(repository_config_open(&config, &bench.repository, &err), &err);
  const char *certificate = argv[3];
  if (bench.up)
    check(recipients_load(&certificate, 1, &bench.recipients, &err), &err);
  else
    check(decryption_key_load(argv[3], NULL, &bench.key, &err), &err);
  struct stat st;
  int fd = open(argv[4], O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0)
    return 1;
  bench.size = (size_t)st.st_size;
  bench.segment = (size_t)strtoul(argv[5], NULL, 10) << 20;
  bench.data = mmap(NULL, bench.size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (bench.data == MAP_FAILED)
    return 1;
  size_t workers = strtoul(argv[6], NULL, 10);
  pthread_t threads[64];
  if (workers < 1 || workers > 64)
    return 2;
  for (size_t i = 0; i < workers; i++)
    if (pthread_create(&threads[i], NULL, work, &bench) != 0)
      return 1;
  for (size_t i = 0; i < workers; i++)
    pthread_join(threads[i], NULL);
  repository_close(bench.repository);
  recipients_free(bench.recipients);
  decryption_key_free(bench.key);
  repository_config_release(&config);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  printf("%ld\n", usage.ru_maxrss);
  return 0;
}
