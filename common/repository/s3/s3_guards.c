/* What guards the bucket's objects: versions (GetBucketVersioning), Object Lock (GetObjectLockConfiguration); and what
 * time it is there. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/text.h"
#include "common/repository/s3/internal.h"
#include "common/repository/s3/xml.h"

enum { DEFAULT_MAX = 36500 };

static bool on_versioning(void *user, const char *path, const char *text) {
  RepositoryGuards *guards = user;
  if (strcmp(path, "VersioningConfiguration/Status") == 0 && strcmp(text, "Enabled") == 0)
    guards->versions = REPOSITORY_YES;
  return true;
}

static int take_days(const char *text, int each) {
  long count = strtol(text, NULL, 10);
  return count > 0 && count <= DEFAULT_MAX / each ? (int)count * each : 0;
}

static bool on_lock(void *user, const char *path, const char *text) {
  static const char root[] = "ObjectLockConfiguration/";
  RepositoryGuards *guards = user;
  const char *what = strncmp(path, root, sizeof root - 1) == 0 ? path + sizeof root - 1 : "";
  if (strcmp(what, "ObjectLockEnabled") == 0 && strcmp(text, "Enabled") == 0)
    guards->lock = REPOSITORY_YES;
  else if (strcmp(what, "Rule/DefaultRetention/Mode") == 0)
    text_clean(text, guards->default_mode, sizeof guards->default_mode);
  else if (strcmp(what, "Rule/DefaultRetention/Days") == 0)
    guards->default_days = take_days(text, 1);
  else if (strcmp(what, "Rule/DefaultRetention/Years") == 0)
    guards->default_days = take_days(text, 365);
  return true;
}

/* Refused for what it asks, and not for who asks or when. */
static bool is_forbidden(const S3Reply *reply) {
  return (reply->status == 403 || reply->status == 401) && (!*reply->code || strcmp(reply->code, "AccessDenied") == 0);
}

bool s3_is_unknown(const S3Reply *reply) {
  return reply->status == 405 || reply->status == 501 || strcmp(reply->code, "NotImplemented") == 0;
}

static void note_time(const S3Reply *reply, RepositoryGuards *guards) {
  time_t there = *reply->date ? curl_getdate(reply->date, NULL) : -1;
  if (there < 0)
    return;
  guards->here_us = clock_wall_us();
  guards->there_us = (int64_t)there * 1000000;
}

/* *answer says yes only if visit made it so. */
static Status ask(S3 *s3, const S3Request *request, S3XmlVisit *visit, RepositoryGuards *guards,
                  RepositoryAnswer *answer, Error *err) {
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Error failure;
  Status status = s3_perform(s3, request, &reply, &failure);
  note_time(&reply, guards);
  if (status == ERR_SEGMENT_CORRUPT) { /* longer than such an answer is */
    *answer = REPOSITORY_UNKNOWN;
  } else if (status == STATUS_OK) {
    if (!s3_xml_parse(reply.body.data, reply.body.size, visit, guards))
      *answer = REPOSITORY_UNKNOWN;
  } else if (status == ERR_OBJECT_NOT_FOUND) {
    *answer = REPOSITORY_NO;
  } else if (status == ERR_REPOSITORY_REFUSED && is_forbidden(&reply)) {
    *answer = REPOSITORY_FORBIDDEN;
  } else if (status == ERR_REPOSITORY_REFUSED && s3_is_unknown(&reply)) {
    *answer = REPOSITORY_UNKNOWN;
  } else {
    *err = failure;
    return status;
  }
  return STATUS_OK;
}

Status s3_guards(void *backend, RepositoryGuards *guards, Error *err) {
  static const S3Request versioning = {.verb = S3_ASK,
                                       .key = "versioning",
                                       .query = "versioning=",
                                       .limit = S3_GUARD_LIMIT,
                                       .permission = "s3:GetBucketVersioning"},
                         lock = {.verb = S3_ASK,
                                 .key = "Object Lock",
                                 .query = "object-lock=",
                                 .limit = S3_GUARD_LIMIT,
                                 .permission = "s3:GetBucketObjectLockConfiguration"};
  S3 *s3 = backend;
  guards->mode = s3->lock_mode;
  guards->days = s3->lock_days;
  Status status = ask(s3, &versioning, on_versioning, guards, &guards->versions, err);
  return status ? status : ask(s3, &lock, on_lock, guards, &guards->lock, err);
}
