#include "common/crypto/envelope.h"

#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <string.h>

enum { NONCE_SIZE = 12, TAG_SIZE = ENVELOPE_TAG_SIZE };

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
static const uint8_t NO_TAG[2 + TAG_SIZE] = {V_ASN1_OCTET_STRING, TAG_SIZE};
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

static bool read_content(Span content, Envelope *out) {
  Span algorithm, encrypted;
  out->type = content.at;
  if (!take_exactly(&content, OBJECT, OID_DATA, sizeof OID_DATA) || !take(&content, SEQUENCE, &algorithm) ||
      !cipher_valid(algorithm))
    return false;
  out->type_size = (size_t)(content.at - out->type);
  if (is_done(&content))
    return true;
  if (!take(&content, IMPLICIT_0, &encrypted) || !is_done(&content))
    return false;
  out->content = encrypted.at;
  out->content_size = (size_t)(encrypted.end - encrypted.at);
  return true;
}

static bool read_tag(Span rest, bool sealed, Envelope *out) {
  if (sealed) {
    out->tag = rest.at;
    out->tag_size = (size_t)(rest.end - rest.at);
    return take_sized(&rest, OCTETS, TAG_SIZE) && is_done(&rest);
  }
  out->tag = NO_TAG;
  out->tag_size = sizeof NO_TAG;
  return take_sized(&rest, OCTETS, 0) && is_done(&rest) && !out->content;
}

static bool read_enveloped(Span enveloped, bool sealed, Envelope *out) {
  Span recipients, content;
  out->front = enveloped.at;
  if (!take_exactly(&enveloped, INTEGER, ZERO, sizeof ZERO) || !take(&enveloped, SET, &recipients))
    return false;
  out->front_size = (size_t)(enveloped.at - out->front);
  return take(&enveloped, SEQUENCE, &content) && read_content(content, out) && read_tag(enveloped, sealed, out);
}

static bool read_envelope(const uint8_t *data, size_t size, bool sealed, Envelope *out) {
  *out = (Envelope){0};
  if (size == 0 || size > LONG_MAX)
    return false;
  Span whole = {data, data + size}, info, wrapped, enveloped;
  bool valid = take(&whole, SEQUENCE, &info) && is_done(&whole) &&
               take_exactly(&info, OBJECT, OID_AUTH_ENVELOPED, sizeof OID_AUTH_ENVELOPED) &&
               take(&info, EXPLICIT_0, &wrapped) && is_done(&info) && take(&wrapped, SEQUENCE, &enveloped) &&
               is_done(&wrapped) && read_enveloped(enveloped, sealed, out);
  ERR_clear_error();
  return valid;
}

bool envelope_read(const uint8_t *data, size_t size, Envelope *out) {
  return read_envelope(data, size, true, out) && out->content;
}

bool envelope_read_unsealed(const uint8_t *data, size_t size, Envelope *out) {
  return read_envelope(data, size, false, out);
}

/* ---- writing ---- */

/* From the outside in; each holds the next. */
enum { LEVEL_INFO, LEVEL_WRAPPED, LEVEL_ENVELOPED, LEVEL_CONTENT, LEVEL_ENCRYPTED, LEVELS };
static const Kind *const level_kinds[LEVELS] = {&SEQUENCE, &EXPLICIT_0, &SEQUENCE, &SEQUENCE, &IMPLICIT_0};

static size_t element_size(const Kind *kind, size_t content_size) {
  return (size_t)ASN1_object_size(kind->constructed, (int)content_size, kind->tag);
}

static void open_element(Buffer *out, const Kind *kind, size_t content_size) {
  uint8_t header[16], *at = header;
  ASN1_put_object(&at, kind->constructed, (int)content_size, kind->tag, kind->class);
  buffer_append(out, header, (size_t)(at - header));
}

static void put_object(Buffer *out, const uint8_t *oid, size_t size) {
  open_element(out, &OBJECT, size);
  buffer_append(out, oid, size);
}

/* Writes it all, but for the content itself. */
static void write(const Envelope *envelope, bool detached, size_t content_size, Buffer *out, size_t *at) {
  size_t sizes[LEVELS] = {[LEVEL_ENCRYPTED] = content_size};
  size_t encrypted = detached ? 0 : element_size(level_kinds[LEVEL_ENCRYPTED], content_size);
  sizes[LEVEL_CONTENT] = envelope->type_size + encrypted;
  sizes[LEVEL_ENVELOPED] =
      envelope->front_size + element_size(level_kinds[LEVEL_CONTENT], sizes[LEVEL_CONTENT]) + envelope->tag_size;
  sizes[LEVEL_WRAPPED] = element_size(level_kinds[LEVEL_ENVELOPED], sizes[LEVEL_ENVELOPED]);
  sizes[LEVEL_INFO] =
      element_size(&OBJECT, sizeof OID_AUTH_ENVELOPED) + element_size(level_kinds[LEVEL_WRAPPED], sizes[LEVEL_WRAPPED]);
  buffer_clear(out);
  buffer_reserve(out, element_size(level_kinds[LEVEL_INFO], sizes[LEVEL_INFO]));
  open_element(out, level_kinds[LEVEL_INFO], sizes[LEVEL_INFO]);
  put_object(out, OID_AUTH_ENVELOPED, sizeof OID_AUTH_ENVELOPED);
  open_element(out, level_kinds[LEVEL_WRAPPED], sizes[LEVEL_WRAPPED]);
  open_element(out, level_kinds[LEVEL_ENVELOPED], sizes[LEVEL_ENVELOPED]);
  buffer_append(out, envelope->front, envelope->front_size);
  open_element(out, level_kinds[LEVEL_CONTENT], sizes[LEVEL_CONTENT]);
  buffer_append(out, envelope->type, envelope->type_size);
  if (!detached) {
    open_element(out, level_kinds[LEVEL_ENCRYPTED], content_size);
    *at = out->size;
    out->size += content_size;
  }
  buffer_append(out, envelope->tag, envelope->tag_size);
}

void envelope_frame(const Envelope *envelope, Buffer *out) {
  write(envelope, true, 0, out, NULL);
}

void envelope_around(const Envelope *frame, size_t content_size, Buffer *out, size_t *at) {
  write(frame, false, content_size, out, at);
}
