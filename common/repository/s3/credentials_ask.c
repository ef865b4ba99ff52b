#include <curl/curl.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/repository/s3/credentials.h"

enum { ANSWER_LIMIT = 1 << 20 };

static size_t on_body(char *data, size_t size, size_t count, void *user) {
  Buffer *out = user;
  if (size * count > ANSWER_LIMIT - out->size)
    return 0; /* ends the transfer */
  buffer_append(out, data, size * count);
  return size * count;
}

static void curl_free_handle(CURL **curl) {
  if (*curl)
    curl_easy_cleanup(*curl);
}

static void curl_free_list(struct curl_slist **list) {
  curl_slist_free_all(*list);
}

Status s3_ask(const S3Ask *ask, long *http, Buffer *out, Error *err) {
  CLEANUP(curl_free_handle) CURL *curl = curl_easy_init();
  if (!curl)
    return error_set(err, ERR_NO_MEMORY, "cannot set up a request to %s", ask->url);
  CLEANUP(curl_free_list) struct curl_slist *headers = ask->header ? curl_slist_append(NULL, ask->header) : NULL;
  buffer_clear(out);
  buffer_reserve(out, 16384); /* so that no part of a secret is left behind where it grew */
  curl_easy_setopt(curl, CURLOPT_URL, ask->url);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)ask->connect_ms);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ask->timeout_ms);
  if (ask->form)
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->form);
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
  if (ask->ca_file)
    curl_easy_setopt(curl, CURLOPT_CAINFO, ask->ca_file);
  if (ask->proxy)
    curl_easy_setopt(curl, CURLOPT_PROXY, ask->proxy);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
  CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK)
    return error_set(err, ERR_REPOSITORY_UNAVAILABLE, "cannot get credentials from %s: %s", ask->url,
                     curl_easy_strerror(code));
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, http);
  return STATUS_OK;
}
