/* A stored object: any bytes are opened or refused. What opens holds at most the limit, and only with its tag intact.
 * An even first byte: the rest is the object. An odd one: the rest is what a sealed object holds, sealed here; so the
 * decompressor, too, meets anything. A first byte of 255: the rest is changes to a whole object, each a position (two
 * bytes) and what to XOR there; it then opens to its own plaintext or not at all. */
#include <openssl/cms.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/crypto/segment.h"
#include "common/crypto/keys.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PLAIN_LIMIT = 1 << 20 };

/* Made for this file; encrypts nothing else. */
static const char KEY_PAIR[] = "-----BEGIN PRIVATE KEY-----\n"
                               "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyZJB9LsdjULM0m8w\n"
                               "won+Hy+K+lsksvj8sWOMvPlF2C+hRANCAASKdxiiHKPvFyoN/8ldnIyw0fJ7G7Qx\n"
                               "wrF1JqPRNv9sSM+Oadu9XkRJMM0UgGs3qmsNo5K2NBZY0RjkAY8tRO1/\n"
                               "-----END PRIVATE KEY-----\n"
                               "-----BEGIN CERTIFICATE-----\n"
                               "MIIBTjCB9qADAgECAhEAoJcjbjB9KJRW56Y0QGtvQTAKBggqhkjOPQQDAjAPMQ0w\n"
                               "CwYDVQQDDARmdXp6MCAXDTI2MTEyMTAzNTI0NFoYDzIxMjYxMDI4MDQ1MjQ0WjAP\n"
                               "MQ0wCwYDVQQDDARmdXp6MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEincYohyj\n"
                               "7xcqDf/JXZyMsNHyexu0McKxdSaj0Tb/bEjPjmnbvV5ESTDNFIBrN6prDaOStjQW\n"
                               "WNEY5AGPLUTtf6MxMC8wHQYDVR0OBBYEFFVGdrpJgw0yX5y6vCyGDgTOfaL5MA4G\n"
                               "A1UdDwEB/wQEAwIDCDAKBggqhkjOPQQDAgNHADBEAiB/Upv6N0E0V5aJWhcYkh2l\n"
                               "gUcb2Oukq78aqzaFWii0RwIgZKl64OdcNORnTTCe7bo1se2TqvRH4L0dXXZpc6UN\n"
                               "QcI=\n"
                               "-----END CERTIFICATE-----\n";

static DecryptionKey *key;
static Recipients *recipients;
static Buffer whole;
static const char WHOLE_PLAIN[] = "1\tone\n2\ttwo\n3\tthree\n";

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  char path[64];
  Error err;
  int fd = memfd_create("key", MFD_CLOEXEC);
  if (fd < 0 || write(fd, KEY_PAIR, sizeof KEY_PAIR - 1) != (ssize_t)sizeof KEY_PAIR - 1)
    abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const char *paths[] = {path};
  if (decryption_key_load(path, NULL, &key, &err) != STATUS_OK ||
      recipients_load(paths, 1, &recipients, &err) != STATUS_OK ||
      segment_encode(recipients, 3, WHOLE_PLAIN, sizeof WHOLE_PLAIN, &whole, &err) != STATUS_OK)
    abort();
  close(fd);
  return 0;
}

static void open_object(const uint8_t *data, size_t size) {
  Buffer plain = {0};
  Error err = {0};
  Status status = segment_decode(key, data, size, PLAIN_LIMIT, &plain, &err);
  if (status == STATUS_OK ? plain.size > PLAIN_LIMIT
                          : (status != ERR_SEGMENT_CORRUPT && status != ERR_KEY_MISMATCH) || !err.message[0])
    abort();
  buffer_release(&plain);
}

static void open_content(const uint8_t *data, size_t size) {
  BIO *in = BIO_new_mem_buf(data, (int)size), *out = BIO_new(BIO_s_mem());
  CMS_ContentInfo *cms = CMS_encrypt(recipients->certificates, in, EVP_aes_256_gcm(), CMS_BINARY);
  if (!cms || i2d_CMS_bio(out, cms) != 1)
    abort();
  char *object;
  long length = BIO_get_mem_data(out, &object);
  open_object((const uint8_t *)object, (size_t)length);
  CMS_ContentInfo_free(cms);
  BIO_free(in);
  BIO_free(out);
}

static void open_changed(const uint8_t *data, size_t size) {
  Buffer object = {0}, plain = {0};
  Error err = {0};
  buffer_append(&object, whole.data, whole.size);
  for (; size >= 3; data += 3, size -= 3)
    object.data[(data[0] * 256u + data[1]) % object.size] ^= data[2];
  Status status = segment_decode(key, object.data, object.size, PLAIN_LIMIT, &plain, &err);
  if (status == STATUS_OK ? plain.size != sizeof WHOLE_PLAIN || memcmp(plain.data, WHOLE_PLAIN, plain.size) != 0
                          : plain.size != 0)
    abort();
  buffer_release(&object);
  buffer_release(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  if (data[0] == 255)
    open_changed(data + 1, size - 1);
  else if (data[0] % 2 == 0)
    open_object(data + 1, size - 1);
  else
    open_content(data + 1, size - 1);
  return 0;
}
