#include "coordinator/web/web.h"

#include <stdio.h>
#include <string.h>

#include "common/base/memory.h"

/* Made once: what is embedded does not change while this runs. */
static const WebFile *files(void) {
  static WebFile *made;
  if (made)
    return made;
  made = memory_alloc(web_blob_count * sizeof *made);
  for (size_t i = 0; i < web_blob_count; i++) {
    const WebBlob *blob = &web_blobs[i];
    char digest[SHA256_HEX_SIZE];
    made[i] = (WebFile){.name = blob->name,
                        .type = blob->type,
                        .data = blob->plain,
                        .size = (size_t)(blob->plain_end - blob->plain),
                        .packed = blob->packed,
                        .packed_size = (size_t)(blob->packed_end - blob->packed)};
    sha256_hex(made[i].data, made[i].size, digest);
    snprintf(made[i].etag, sizeof made[i].etag, "%.32s", digest);
  }
  return made;
}

const WebFile *web_file(const char *name) {
  const WebFile *all = files();
  for (size_t i = 0; i < web_blob_count; i++)
    if (strcmp(all[i].name, name) == 0)
      return &all[i];
  return NULL;
}
