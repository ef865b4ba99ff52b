/*
 * The multiset digest of COPY lines: the sum modulo 2^256 of SHA-256 over each line without its newline.
 *
 * A sum, so that a doubled row counts twice (an XOR would cancel it). The number of rows is compared beside it.
 * The terminator that pg_dump writes ("\.", newline, newline, newline) is recognised by holding back what could be it.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/archive/fingerprint.h"
#include "common/base/memory.h"

enum { LIMBS = 4 };

static const char TERMINATOR[] = "\\.\n\n\n";
enum { TERMINATOR_SIZE = sizeof TERMINATOR - 1 };

struct RowDigest {
  EVP_MD_CTX *ctx;
  EVP_MD *md;
  uint64_t sum[LIMBS]; /* least significant first */
  int64_t rows, bytes;
  bool in_line;    /* bytes of an unfinished line are in ctx */
  size_t matched;  /* bytes of TERMINATOR seen since a line's start, held back */
  bool failed;     /* OpenSSL refused; told by finish */
  bool terminated; /* the whole terminator was seen: nothing may follow */
  bool trailing;   /* something did follow */
};

RowDigest *row_digest_new(void) {
  RowDigest *digest = memory_alloc(sizeof *digest);
  digest->md = EVP_MD_fetch(NULL, "SHA256", NULL);
  digest->ctx = EVP_MD_CTX_new();
  digest->failed = !digest->md || !digest->ctx || !EVP_DigestInit_ex2(digest->ctx, digest->md, NULL);
  return digest;
}

void row_digest_free(RowDigest *digest) {
  if (!digest)
    return;
  EVP_MD_CTX_free(digest->ctx);
  EVP_MD_free(digest->md);
  free(digest);
}

static void add(uint64_t sum[LIMBS], const uint8_t hash[DIGEST_SIZE]) {
  unsigned char carry = 0;
  for (int i = 0; i < LIMBS; i++) {
    uint64_t limb;
    memcpy(&limb, hash + 8 * i, sizeof limb); /* any fixed order of bytes will do; this one is little-endian's */
    uint64_t with = sum[i] + limb, total = with + carry;
    carry = (with < limb) | (total < with);
    sum[i] = total;
  }
}

static void line_bytes(RowDigest *digest, const uint8_t *data, size_t size) {
  digest->in_line = true;
  if (size && !EVP_DigestUpdate(digest->ctx, data, size))
    digest->failed = true;
}

static void line_end(RowDigest *digest, size_t size) {
  uint8_t hash[EVP_MAX_MD_SIZE];
  if (!EVP_DigestFinal_ex(digest->ctx, hash, NULL) || !EVP_DigestInit_ex2(digest->ctx, NULL, NULL))
    digest->failed = true;
  add(digest->sum, hash);
  digest->rows++;
  digest->bytes += (int64_t)size;
  digest->in_line = false;
}

/* Bytes that were held back as a possible terminator are a row's after all (or several rows': "\.\n" cannot be
 * one in the text format, but a stream that holds it is not trusted to be well-formed). */
static void release_held(RowDigest *digest) {
  size_t held = digest->matched;
  digest->matched = 0;
  if (held > 2) {
    digest->trailing = true; /* a line "\." that was not the end: not what pg_dump writes */
    return;
  }
  if (held > 0) {
    line_bytes(digest, (const uint8_t *)TERMINATOR, held);
    digest->bytes += (int64_t)held;
  }
}

/* At a line's start: does the terminator begin or go on here? Returns how many bytes it took. */
static size_t match_terminator(RowDigest *digest, const uint8_t *data, size_t size) {
  size_t taken = 0;
  while (taken < size && digest->matched < TERMINATOR_SIZE && data[taken] == (uint8_t)TERMINATOR[digest->matched]) {
    digest->matched++;
    taken++;
  }
  if (digest->matched == TERMINATOR_SIZE)
    digest->terminated = true;
  else if (taken < size)
    release_held(digest);
  return taken;
}

void row_digest_feed(RowDigest *digest, const void *data, size_t size) {
  const uint8_t *at = data, *end = at + size;
  while (at < end) {
    if (digest->terminated || digest->trailing) {
      digest->trailing = true;
      return;
    }
    if (!digest->in_line && (digest->matched > 0 || *at == '\\')) {
      at += match_terminator(digest, at, (size_t)(end - at));
      continue;
    }
    const uint8_t *newline = memchr(at, '\n', (size_t)(end - at));
    if (!newline) {
      line_bytes(digest, at, (size_t)(end - at));
      digest->bytes += end - at;
      return;
    }
    line_bytes(digest, at, (size_t)(newline - at));
    line_end(digest, (size_t)(newline - at) + 1);
    at = newline + 1;
  }
}

Status row_digest_finish(RowDigest *digest, bool terminator, int64_t *rows, int64_t *bytes, uint8_t out[DIGEST_SIZE],
                         Error *err) {
  if (digest->failed)
    return error_set(err, ERR_INTERNAL, "SHA-256 is not available from OpenSSL");
  if (terminator != digest->terminated || digest->trailing || digest->in_line ||
      (!digest->terminated && digest->matched > 0))
    return error_set(err, ERR_ARCHIVE_FORMAT, "a table's data does not end as pg_dump ends it");
  for (int i = 0; i < LIMBS; i++)
    memcpy(out + 8 * i, &digest->sum[i], sizeof digest->sum[i]);
  *rows = digest->rows;
  *bytes = digest->bytes;
  return STATUS_OK;
}
