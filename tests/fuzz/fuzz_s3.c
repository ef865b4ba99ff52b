/* What an S3 server or a credentials' service answers, and a credentials file: any bytes, by the first of them. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/repository/s3/credentials.h"
#include "common/repository/s3/xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
  if (!good)
    abort();
}

static void page(const uint8_t *data, size_t size) {
  S3Page page = {0};
  bool good = s3_page_parse(data, size, &page);
  require(good || (!page.items && !page.next && !page.count));
  require(page.count <= S3_PAGE_KEYS);
  for (size_t i = 0; i < page.count; i++)
    require(page.items[i].key && strlen(page.items[i].key) <= S3_XML_TEXT);
  s3_page_release(&page);
}

static void versions(const uint8_t *data, size_t size) {
  S3Page page = {0};
  bool good = s3_versions_parse(data, size, &page);
  require(good || (!page.items && !page.next && !page.next_version && !page.count));
  require(page.count <= S3_PAGE_KEYS);
  for (size_t i = 0; i < page.count; i++)
    require(page.items[i].key && page.items[i].version && (!page.items[i].mark || page.items[i].size == 0));
  s3_page_release(&page);
}

static void error(const uint8_t *data, size_t size) {
  char code[16], message[32], region[8] = "";
  s3_error_parse(data, size, code, sizeof code, message, sizeof message, region, sizeof region);
  require(strlen(code) < sizeof code && strlen(message) < sizeof message && strlen(region) < sizeof region);
}

static void keys(Status status, S3Keys *found, const Error *err) {
  if (status == STATUS_OK) {
    require(found->access_key && *found->access_key && found->secret_key && *found->secret_key);
    for (const char *at = found->secret_key; *at; at++) /* they go into headers */
      require(*at > ' ' && *at <= '~');
    for (const char *at = found->session_token; at && *at; at++)
      require(*at > ' ' && *at <= '~');
  } else {
    require(status == ERR_REPOSITORY_REFUSED && err->message[0] && !found->access_key && !found->secret_key);
  }
  s3_keys_release(found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  Error err = {0};
  S3Keys found = {0};
  const uint8_t *rest = data + 1;
  switch (data[0]) {
  case 'P':
    page(rest, size - 1);
    break;
  case 'V':
    versions(rest, size - 1);
    break;
  case 'E':
    error(rest, size - 1);
    break;
  case 'C':
    keys(s3_credentials_parse((const char *)rest, size - 1, "file", "default", &found, &err), &found, &err);
    break;
  case 'J':
    keys(s3_credentials_parse_json(rest, size - 1, "service", &found, &err), &found, &err);
    break;
  default:
    break;
  }
  return 0;
}
