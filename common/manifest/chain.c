#include "common/manifest/chain.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

const char chain_start[SHA256_HEX_SIZE] = "0000000000000000000000000000000000000000000000000000000000000000";

Status chain_hash(const json_t *event, const char previous[SHA256_HEX_SIZE], char hash[SHA256_HEX_SIZE], Error *err) {
  CLEANUP_FREE char *text = json_dumps(event, JSON_COMPACT | JSON_SORT_KEYS);
  if (!text)
    return error_set(err, ERR_INTERNAL, "an event could not be written as JSON");
  CLEANUP_FREE char *whole = memory_format("%s%s", previous, text);
  sha256_hex(whole, strlen(whole), hash);
  return STATUS_OK;
}
