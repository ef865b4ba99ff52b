#include "common/crypto/envelope.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <string.h>

enum { NONCE_SIZE = 12, TAG_SIZE = 16 };

/* What is left to read of one element's content. */
typedef struct Span {
  const uint8_t *at, *end;
} Span;

typedef struct Kind {
  int class, tag;
  bool constructed;
} Kind;

static const Kind SEQUENCE = {V_ASN1_UNIVERSAL, V_ASN1_SEQUENCE, true};
static const Kind SET = {V_ASN1_UNIVERSAL, V_ASN1_SET, true};
static const Kind INTEGER = {V_ASN1_UNIVERSAL, V_ASN1_INTEGER, false};
static const Kind OBJECT = {V_ASN1_UNIVERSAL, V_ASN1_OBJECT, false};
static const Kind OCTETS = {V_ASN1_UNIVERSAL, V_ASN1_OCTET_STRING, false};
static const Kind EXPLICIT_0 = {V_ASN1_CONTEXT_SPECIFIC, 0, true};
static const Kind IMPLICIT_0 = {V_ASN1_CONTEXT_SPECIFIC, 0, false};

static const uint8_t OID_AUTH_ENVELOPED[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x17};
static const uint8_t OID_DATA[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};
static const uint8_t OID_AES_256_GCM[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e};
static const uint8_t ZERO[] = {0}, TAG_SIZE_BYTES[] = {TAG_SIZE};

static bool take(Span *from, Kind kind, Span *content) {
  long length;
  int tag, class;
  const uint8_t *at = from->at;
  if (from->end - at <= 0)
    return false;
  int form = ASN1_get_object(&at, &length, &tag, &class, from->end - at);
  bool failed = (form & 0x80) != 0, indefinite = (form & 1) != 0;
  if (failed || indefinite || length < 0 || length > from->end - at || tag != kind.tag || class != kind.class ||
      ((form & V_ASN1_CONSTRUCTED) != 0) != kind.constructed)
    return false;
  *content = (Span){at, at + length};
  from->at = at + length;
  return true;
}

static bool is_done(const Span *span) {
  return span->at == span->end;
}

static bool take_exactly(Span *from, Kind kind, const uint8_t *bytes, size_t size) {
  Span content;
  return take(from, kind, &content) && (size_t)(content.end - content.at) == size &&
         memcmp(content.at, bytes, size) == 0;
}

static bool take_sized(Span *from, Kind kind, ptrdiff_t size) {
  Span content;
  return take(from, kind, &content) && content.end - content.at == size;
}

static bool cipher_valid(Span algorithm) {
  Span parameters;
  return take_exactly(&algorithm, OBJECT, OID_AES_256_GCM, sizeof OID_AES_256_GCM) &&
         take(&algorithm, SEQUENCE, &parameters) && is_done(&algorithm) &&
         take_sized(&parameters, OCTETS, NONCE_SIZE) &&
         take_exactly(&parameters, INTEGER, TAG_SIZE_BYTES, sizeof TAG_SIZE_BYTES) && is_done(&parameters);
}

static bool content_valid(Span content) {
  Span algorithm, encrypted;
  return take_exactly(&content, OBJECT, OID_DATA, sizeof OID_DATA) && take(&content, SEQUENCE, &algorithm) &&
         cipher_valid(algorithm) && take(&content, IMPLICIT_0, &encrypted) && is_done(&content);
}

static bool enveloped_valid(Span enveloped) {
  Span recipients, content;
  return take_exactly(&enveloped, INTEGER, ZERO, sizeof ZERO) && take(&enveloped, SET, &recipients) &&
         take(&enveloped, SEQUENCE, &content) && content_valid(content) && take_sized(&enveloped, OCTETS, TAG_SIZE) &&
         is_done(&enveloped);
}

bool envelope_valid(const uint8_t *data, size_t size) {
  if (size == 0 || size > LONG_MAX)
    return false;
  Span whole = {data, data + size}, info, wrapped, enveloped;
  bool valid = take(&whole, SEQUENCE, &info) && is_done(&whole) &&
               take_exactly(&info, OBJECT, OID_AUTH_ENVELOPED, sizeof OID_AUTH_ENVELOPED) &&
               take(&info, EXPLICIT_0, &wrapped) && is_done(&info) && take(&wrapped, SEQUENCE, &enveloped) &&
               is_done(&wrapped) && enveloped_valid(enveloped);
  ERR_clear_error();
  return valid;
}
