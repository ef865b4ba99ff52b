/*
 * Messages of mail (RFC 5322, 2045, 2046, 2047): what alerts and reports write them with. All that is not written here
 * is encoded in base64, so that no text of others is ever a header, a boundary or a line of SMTP. Pure.
 */
#ifndef PGSEAL_COORDINATOR_ALERTS_MIME_H
#define PGSEAL_COORDINATOR_ALERTS_MIME_H

#include "common/base/buffer.h"
#include "coordinator/alerts/settings.h"

/* From, To, Date, Message-ID, Subject, MIME-Version, Auto-Submitted. id: letters and digits, which stay the same
 * however often it is sent. created_us: wall clock. subject: UTF-8, one line; cut where it is longer than a header
 * should be. */
void mime_head(Buffer *out, const AlertRoute *route, const char *id, int64_t created_us, const char *subject);

/* "text/plain; charset=utf-8" and so on; attached_as: a name of letters, digits, '.', '_' and '-', or NULL. */
void mime_body(Buffer *out, const char *type, const char *attached_as, const void *data, size_t size);

/* Around bodies: Content-Type multipart/mixed; then mime_next before each of them, and mime_end. boundary: of letters
 * and digits; with '_' in it, which base64 has not, it is in no body. */
void mime_parts(Buffer *out, const char *boundary);
void mime_next(Buffer *out, const char *boundary);
void mime_end(Buffer *out, const char *boundary);

/* How much mime_body makes of that many bytes. */
size_t mime_encoded_size(size_t size);

#endif
