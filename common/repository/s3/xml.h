/* The XML that S3 and STS answer with. Whatever it holds, it is bounded: no document types, 16 levels, 8 KiB of text an
 * element. Any thread. */
#ifndef PGSEAL_COMMON_REPOSITORY_S3_XML_H
#define PGSEAL_COMMON_REPOSITORY_S3_XML_H

#include "common/base/buffer.h"

enum { S3_XML_DEPTH = 16, S3_XML_TEXT = 8192, S3_PAGE_KEYS = 1000 };

/* Called at each element's end. path: names from the root on, joined by '/', namespaces dropped. text: what is directly
 * in it, without what surrounds child elements' space. Return false to refuse the document. */
typedef bool S3XmlVisit(void *user, const char *path, const char *text);
/* False if it is no XML, is not bounded, or was refused. */
bool s3_xml_parse(const void *data, size_t size, S3XmlVisit *visit, void *user);

typedef struct S3Found {
  char *key; /* whole, with the repository's prefix */
  uint64_t size;
  char *version; /* of a list of versions; else NULL */
  bool mark;     /* it hides an object */
} S3Found;

typedef struct S3Page { /* of ListObjectsV2, or of ListObjectVersions */
  S3Found *items;
  size_t count;
  bool truncated;
  char *next;         /* token of the next page, or the key it begins after; NULL if none was said */
  char *next_version; /* of a list of versions, with next */
} S3Page;

bool s3_page_parse(const void *data, size_t size, S3Page *page); /* false leaves it empty */
bool s3_versions_parse(const void *data, size_t size, S3Page *page);
void s3_page_release(S3Page *page);

/* Code and message of an error document, cleaned for people; empty if it has none. Returns what region it names, if it
 * does, in region. */
void s3_error_parse(const void *data, size_t size, char *code, size_t code_size, char *message, size_t message_size,
                    char *region, size_t region_size);

#endif
