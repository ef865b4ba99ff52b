/* Listing, page by page (ListObjectsV2). The server's order is checked, so that it cannot lead us in circles. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/repository/s3/internal.h"
#include "common/repository/s3/xml.h"

enum { EMPTY_PAGES_LIMIT = 100 };

typedef struct Listing {
  S3 *s3;
  char *prefix; /* whole */
  char *token;  /* of the next page */
  char *last;   /* the last key seen, or what the listing begins behind */
  int empty;    /* pages in a row without a key */
} Listing;

static void release(Listing *listing) {
  free(listing->prefix);
  free(listing->token);
  free(listing->last);
}

char *s3_escape(const char *text) {
  char *escaped = curl_easy_escape(NULL, text, 0);
  char *copy = memory_strdup(escaped ? escaped : "");
  curl_free(escaped);
  return copy;
}

static Status nonsense(const Listing *listing, const char *what, Error *err) {
  return error_set(err, ERR_REPOSITORY_UNAVAILABLE, "cannot list bucket %s: %s", listing->s3->bucket, what);
}

static Status fetch(const Listing *listing, const char *shown, S3Page *page, Error *err) {
  CLEANUP_FREE char *prefix = s3_escape(listing->prefix);
  CLEANUP_FREE char *token = listing->token ? s3_escape(listing->token) : NULL;
  CLEANUP_FREE char *after = listing->last && !token ? s3_escape(listing->last) : NULL;
  /* sorted by name; keys come escaped, since XML cannot hold whatever a foreign key may */
  CLEANUP_FREE char *query = memory_format("%s%s%sencoding-type=url&list-type=2&max-keys=%d&prefix=%s%s%s",
                                           token ? "continuation-token=" : "", token ? token : "", token ? "&" : "",
                                           S3_PAGE_KEYS, prefix, after ? "&start-after=" : "", after ? after : "");
  S3Request request = {.verb = S3_LIST, .key = shown, .query = query, .limit = S3_LIST_LIMIT};
  CLEANUP(s3_reply_release) S3Reply reply = {0};
  Status status = s3_perform(listing->s3, &request, &reply, err);
  if (status == ERR_SEGMENT_CORRUPT)
    return nonsense(listing, "the page is too long", err);
  if (status == STATUS_OK && !s3_page_parse(reply.body.data, reply.body.size, page))
    return nonsense(listing, "the server's answer is no list of objects", err);
  return status;
}

/* *go_on is false when the visitor has had enough. */
static Status show(Listing *listing, const S3Page *page, RepositoryVisit *visit, void *user, bool *go_on, Error *err) {
  size_t skip = strlen(listing->s3->prefix), length = strlen(listing->prefix);
  for (size_t i = 0; i < page->count; i++) {
    const char *key = page->items[i].key;
    if (strncmp(key, listing->prefix, length) != 0)
      return nonsense(listing, "the server lists what was not asked for", err);
    if (listing->last && strcmp(key, listing->last) <= 0)
      return nonsense(listing, "the server does not list in order", err);
    free(listing->last);
    listing->last = memory_strdup(key);
    /* what others put there is none of the repository's */
    if (repository_key_valid(key + skip) && !visit(user, key + skip, page->items[i].size)) {
      *go_on = false;
      return STATUS_OK;
    }
  }
  return STATUS_OK;
}

static Status next(Listing *listing, S3Page *page, bool *go_on, Error *err) {
  listing->empty = page->count ? 0 : listing->empty + 1;
  *go_on = *go_on && page->truncated;
  if (!*go_on)
    return STATUS_OK;
  if (!page->next || !*page->next || listing->empty > EMPTY_PAGES_LIMIT)
    return nonsense(listing, "the server says there is more, but not where", err);
  free(listing->token);
  listing->token = STEAL(page->next);
  return STATUS_OK;
}

Status s3_list(void *backend, const char *prefix, const char *after, RepositoryVisit *visit, void *user, Error *err) {
  S3 *s3 = backend;
  CLEANUP(release) Listing listing = {.s3 = s3, .prefix = memory_format("%s%s", s3->prefix, prefix)};
  listing.last = after ? memory_format("%s%s", s3->prefix, after) : NULL;
  bool go_on = true;
  Status status = STATUS_OK;
  while (status == STATUS_OK && go_on) {
    CLEANUP(s3_page_release) S3Page page = {0};
    status = fetch(&listing, prefix, &page, err);
    if (status == STATUS_OK)
      status = show(&listing, &page, visit, user, &go_on, err);
    if (status == STATUS_OK)
      status = next(&listing, &page, &go_on, err);
  }
  return status;
}
