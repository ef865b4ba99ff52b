/* Every version of what is there (ListObjectVersions), page by page, and what is locked (GetObjectRetention,
 * GetObjectLegalHold). A server that keeps none is listed as it is. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/repository/s3/internal.h"
#include "common/repository/s3/xml.h"

enum { PAGES_WITHOUT_A_KEY = 100 };

typedef struct Walk {
  S3 *s3;
  char *prefix;                /* whole */
  char *after, *after_version; /* where the next page begins */
  char *last;                  /* the last key seen */
  int idle;                    /* pages in a row that brought no other key */
} Walk;

static void release(Walk *walk) {
  free(walk->prefix);
  free(walk->after);
  free(walk->after_version);
  free(walk->last);
}

static Status nonsense(const Walk *walk, const char *what, Error *err) {
  return error_set(err, ERR_REPOSITORY_UNAVAILABLE, "cannot list the versions in bucket %s: %s", walk->s3->bucket,
                   what);
}

static void append(Buffer *query, const char *name, const char *value) {
  CLEANUP_FREE char *escaped = s3_escape(value);
  buffer_append_format(query, "%s=%s&", name, escaped);
}

/* *unknown: the server does not know what versions are. */
static Status fetch(const Walk *walk, const char *shown, S3Page *page, bool *unknown, Error *err) {
  CLEANUP(buffer_release) Buffer query = {0};
  buffer_append_text(&query, "encoding-type=url&"); /* sorted by name, as for all queries */
  if (walk->after)
    append(&query, "key-marker", walk->after);
  buffer_append_format(&query, "max-keys=%d&", S3_PAGE_KEYS);
  append(&query, "prefix", walk->prefix);
  if (walk->after_version)
    append(&query, "version-id-marker", walk->after_version);
  buffer_append_text(&query, "versions=");
  const S3Request request = {.verb = S3_LIST,
                             .key = shown,
                             .query = buffer_text(&query),
                             .limit = S3_LIST_LIMIT,
                             .permission = "s3:ListBucketVersions"};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Status status = s3_perform(walk->s3, &request, &reply, err);
  *unknown = status == ERR_REPOSITORY_REFUSED && s3_is_unknown(&reply);
  if (status == ERR_SEGMENT_CORRUPT)
    return nonsense(walk, "the page is too long", err);
  if (status == STATUS_OK && !s3_versions_parse(reply.body.data, reply.body.size, page))
    return nonsense(walk, "the server's answer is no list of versions", err);
  return status;
}

/* *go_on is false when the visitor has had enough. */
static Status show(Walk *walk, const S3Page *page, RepositoryEntryVisit *visit, void *user, bool *go_on, Error *err) {
  size_t skip = strlen(walk->s3->prefix), length = strlen(walk->prefix);
  walk->idle++;
  for (size_t i = 0; i < page->count && *go_on; i++) {
    const S3Found *found = &page->items[i];
    int order = walk->last ? strcmp(found->key, walk->last) : 1;
    if (strncmp(found->key, walk->prefix, length) != 0)
      return nonsense(walk, "the server lists what was not asked for", err);
    if (order < 0)
      return nonsense(walk, "the server does not list in order", err);
    if (order > 0) {
      free(walk->last);
      walk->last = memory_strdup(found->key);
      walk->idle = 0;
    }
    const RepositoryEntry entry = {
        .key = found->key + skip, .version = found->version, .size = found->size, .mark = found->mark};
    if (repository_key_valid(entry.key)) /* what others put there is none of the repository's */
      *go_on = visit(user, &entry);
  }
  return STATUS_OK;
}

static Status next(Walk *walk, S3Page *page, bool *go_on, Error *err) {
  *go_on = *go_on && page->truncated;
  if (!*go_on)
    return STATUS_OK;
  if (!page->next || !*page->next || walk->idle > PAGES_WITHOUT_A_KEY)
    return nonsense(walk, "the server says there is more, but not where", err);
  free(walk->after);
  free(walk->after_version);
  walk->after = STEAL(page->next);
  walk->after_version = page->next_version && *page->next_version ? STEAL(page->next_version) : NULL;
  return STATUS_OK;
}

typedef struct Plain {
  RepositoryEntryVisit *visit;
  void *user;
} Plain;

static bool visit_plain(void *user, const char *key, uint64_t size) {
  const Plain *plain = user;
  const RepositoryEntry entry = {.key = key, .size = size};
  return plain->visit(plain->user, &entry);
}

Status s3_entries(void *backend, const char *prefix, RepositoryEntryVisit *visit, void *user, Error *err) {
  S3 *s3 = backend;
  CLEANUP(release) Walk walk = {.s3 = s3, .prefix = memory_format("%s%s", s3->prefix, prefix)};
  bool go_on = true, unknown = false;
  Status status = STATUS_OK;
  while (status == STATUS_OK && go_on) {
    CLEANUP(s3_page_release) S3Page page = {0};
    Error failure;
    status = fetch(&walk, prefix, &page, &unknown, &failure);
    if (unknown && !walk.after)
      return s3_list(backend, prefix, NULL, visit_plain, &(Plain){visit, user}, err);
    if (status == STATUS_OK)
      status = show(&walk, &page, visit, user, &go_on, &failure);
    if (status == STATUS_OK)
      status = next(&walk, &page, &go_on, &failure);
    if (status != STATUS_OK)
      *err = failure;
  }
  return status;
}

/* ---- locks ---- */

/* "2026-11-21T15:04:05Z", with or without a fraction. */
static int64_t time_of(const char *text) {
  struct tm tm = {0};
  const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
  time_t seconds = rest && (*rest == 'Z' || *rest == '.') ? timegm(&tm) : -1;
  /* a lock whose end cannot be read is one all the same */
  return seconds < 0 ? INT64_MAX : ((int64_t)seconds + (*rest == '.')) * 1000000;
}

static bool on_retention(void *user, const char *path, const char *text) {
  if (strcmp(path, "Retention/RetainUntilDate") == 0)
    *(int64_t *)user = time_of(text);
  return true;
}

static bool on_hold(void *user, const char *path, const char *text) {
  if (strcmp(path, "LegalHold/Status") == 0 && strcmp(text, "ON") == 0)
    *(int64_t *)user = INT64_MAX;
  return true;
}

static Status ask(S3 *s3, const char *key, const char *query, const char *permission, S3XmlVisit *visit,
                  int64_t *until_us, Error *err) {
  const S3Request request = {
      .verb = S3_GET, .key = key, .query = query, .limit = S3_GUARD_LIMIT, .permission = permission};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Error failure;
  Status status = s3_perform(s3, &request, &reply, &failure);
  /* none is set, or none can be: AWS says the one by 404, the other by 400 */
  if (status == ERR_OBJECT_NOT_FOUND || (status == ERR_REPOSITORY_REFUSED && reply.status != 403))
    return STATUS_OK;
  if (status != STATUS_OK) {
    *err = failure;
    return status;
  }
  if (!s3_xml_parse(reply.body.data, reply.body.size, visit, until_us))
    return error_set(err, ERR_REPOSITORY_UNAVAILABLE, "the server's answer about the lock of %s is none", key);
  return STATUS_OK;
}

Status s3_locked(void *backend, const char *key, const char *version, int64_t *until_us, Error *err) {
  CLEANUP_FREE char *id = version ? s3_escape(version) : NULL;
  CLEANUP_FREE char *retention = memory_format("retention=%s%s", id ? "&versionId=" : "", id ? id : "");
  CLEANUP_FREE char *hold = memory_format("legal-hold=%s%s", id ? "&versionId=" : "", id ? id : "");
  int64_t held_us = 0;
  Status status = ask(backend, key, retention, "s3:GetObjectRetention", on_retention, until_us, err);
  if (status == STATUS_OK)
    status = ask(backend, key, hold, "s3:GetObjectLegalHold", on_hold, &held_us, err);
  if (held_us > *until_us)
    *until_us = held_us;
  return status;
}
