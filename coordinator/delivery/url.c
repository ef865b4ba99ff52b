#include "coordinator/delivery/url.h"

#include <curl/curl.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/loopback.h"

static void url_release(CURLU **url) {
  curl_url_cleanup(*url);
}

static void curl_text_release(char **text) {
  curl_free(*text);
}

const char *delivery_url_problem(bool mail, const char *text, bool unencrypted) {
  CLEANUP(url_release) CURLU *url = curl_url();
  CLEANUP(curl_text_release) char *scheme = NULL;
  CLEANUP(curl_text_release) char *host = NULL;
  CLEANUP(curl_text_release) char *user = NULL;
  CLEANUP(curl_text_release) char *fragment = NULL;
  for (const char *p = text; *p; p++)
    if ((unsigned char)*p <= ' ' || *p == 127)
      return "it has spaces or control characters";
  if (!url || curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
      curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
      curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK || !*host)
    return "it is no URL";
  if (curl_url_get(url, CURLUPART_USER, &user, 0) == CURLUE_OK)
    return "it holds a user's name; that, and his password, have their own settings";
  if (curl_url_get(url, CURLUPART_FRAGMENT, &fragment, 0) == CURLUE_OK)
    return "it has a part after '#', which is not sent";
  if (mail)
    return strcmp(scheme, "smtp") == 0 || strcmp(scheme, "smtps") == 0 ? NULL
                                                                       : "it must begin with smtp:// or smtps://";
  if (strcmp(scheme, "https") == 0)
    return NULL;
  if (strcmp(scheme, "http") != 0)
    return "it must begin with https://";
  return unencrypted || loopback_host(host) ? NULL : "it is not encrypted; use https://, or say `unencrypted: true`";
}
