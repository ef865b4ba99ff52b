/*
 * The dashboard's files, which are part of this program: coordinator/web/assets, put in by make/embed. What a browser
 * loads, it loads from here, and runs nothing else (docs/security.md). Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_WEB_WEB_H
#define PGSEAL_COORDINATOR_WEB_WEB_H

#include <stddef.h>

#include "common/crypto/digest.h"

/* As make/embed writes them: from the first byte to the one after the last. */
typedef struct WebBlob {
  const char *name, *type;
  const unsigned char *plain, *plain_end, *packed, *packed_end;
} WebBlob;
extern const WebBlob web_blobs[];
extern const size_t web_blob_count;

typedef struct WebFile {
  const char *name, *type;
  const void *data, *packed; /* packed: by gzip */
  size_t size, packed_size;
  char etag[SHA256_HEX_SIZE]; /* of the bytes; without quotes */
} WebFile;

/* NULL: there is none of that name ("app.js"). Never freed. */
const WebFile *web_file(const char *name);
#define WEB_PAGE "index.html"

#endif
