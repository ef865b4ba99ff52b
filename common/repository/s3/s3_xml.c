#include <ctype.h>
#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/repository/s3/xml.h"

enum { PATH_SIZE = 512 };

typedef struct Reader {
  XML_Parser parser;
  S3XmlVisit *visit;
  void *user;
  char path[PATH_SIZE];
  size_t ends[S3_XML_DEPTH]; /* of the path at each level */
  size_t depth;
  char text[S3_XML_TEXT + 1];
  size_t length;
  bool refused;
} Reader;

static void refuse(Reader *reader) {
  reader->refused = true;
  XML_StopParser(reader->parser, XML_FALSE);
}

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes) {
  (void)attributes;
  Reader *reader = user;
  const char *colon = strrchr(name, ':');
  const char *local = colon ? colon + 1 : name;
  size_t at = reader->depth ? reader->ends[reader->depth - 1] : 0, need = strlen(local) + (at ? 1 : 0);
  if (reader->depth == S3_XML_DEPTH || need >= PATH_SIZE - at) {
    refuse(reader);
    return;
  }
  snprintf(reader->path + at, PATH_SIZE - at, "%s%s", at ? "/" : "", local);
  reader->ends[reader->depth++] = at + need;
  reader->length = 0;
}

static void XMLCALL on_text(void *user, const XML_Char *text, int length) {
  Reader *reader = user;
  if (length < 0 || (size_t)length > S3_XML_TEXT - reader->length) {
    refuse(reader);
    return;
  }
  memcpy(reader->text + reader->length, text, (size_t)length);
  reader->length += (size_t)length;
}

static void XMLCALL on_end(void *user, const XML_Char *name) {
  (void)name;
  Reader *reader = user;
  if (reader->refused) /* expat still reports the end of an empty element that was refused at its start */
    return;
  reader->text[reader->length] = '\0';
  if (!reader->visit(reader->user, reader->path, reader->text)) {
    refuse(reader);
    return;
  }
  reader->depth--;
  reader->path[reader->depth ? reader->ends[reader->depth - 1] : 0] = '\0';
  reader->length = 0;
}

/* Nothing that S3 says has a document type; entities that grow have one. */
static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system, const XML_Char *public,
                               int internal) {
  (void)name, (void)system, (void)public, (void)internal;
  refuse(user);
}

bool s3_xml_parse(const void *data, size_t size, S3XmlVisit *visit, void *user) {
  if (size > (size_t)1 << 30)
    return false;
  CLEANUP_FREE Reader *reader = memory_alloc(sizeof *reader);
  *reader = (Reader){.parser = XML_ParserCreate(NULL), .visit = visit, .user = user};
  if (!reader->parser)
    return false;
  XML_SetUserData(reader->parser, reader);
  XML_SetElementHandler(reader->parser, on_start, on_end);
  XML_SetCharacterDataHandler(reader->parser, on_text);
  XML_SetStartDoctypeDeclHandler(reader->parser, on_doctype);
  bool whole = XML_Parse(reader->parser, data, (int)size, XML_TRUE) == XML_STATUS_OK && !reader->refused;
  XML_ParserFree(reader->parser);
  return whole;
}

/* ---- a page of a listing --------------------------------------------------------------------------- */

typedef struct PageReader {
  S3Page *page;
  S3Found now;
  bool has_size, escaped;
} PageReader;

static int digit(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

/* In place. */
static bool unescape(char *text) {
  char *to = text;
  for (const char *from = text; *from; from++) {
    if (*from == '%') {
      int high = digit(from[1]), low = high < 0 ? -1 : digit(from[2]);
      if (low < 0 || high * 16 + low == 0)
        return false;
      *to++ = (char)(high * 16 + low);
      from += 2;
    } else {
      *to++ = *from == '+' ? ' ' : *from;
    }
  }
  *to = '\0';
  return true;
}

static bool take_size(PageReader *reader, const char *text) {
  char *end;
  errno = 0;
  unsigned long long size = strtoull(text, &end, 10);
  reader->now.size = size;
  reader->has_size = true;
  return isdigit((unsigned char)text[0]) && !*end && errno == 0;
}

static bool take_object(PageReader *reader, bool versions, bool mark) {
  bool whole = reader->now.key && (reader->has_size || mark) && (!versions || reader->now.version);
  if (!whole || reader->page->count >= S3_PAGE_KEYS)
    return false;
  reader->now.mark = mark;
  ARRAY_PUSH(reader->page->items, reader->page->count, reader->now);
  reader->now = (S3Found){0};
  reader->has_size = false;
  return true;
}

static void set(char **to, const char *text) {
  free(*to);
  *to = memory_strdup(text);
}

static bool page_visit(void *user, const char *path, const char *text) {
  static const char root[] = "ListBucketResult";
  PageReader *reader = user;
  if (strncmp(path, root, sizeof root - 1) != 0)
    return false;
  const char *what = path + sizeof root - 1;
  if (strcmp(what, "/Contents/Key") == 0)
    set(&reader->now.key, text);
  else if (strcmp(what, "/Contents/Size") == 0)
    return take_size(reader, text);
  else if (strcmp(what, "/Contents") == 0)
    return take_object(reader, false, false);
  else if (strcmp(what, "/IsTruncated") == 0)
    reader->page->truncated = strcmp(text, "true") == 0;
  else if (strcmp(what, "/NextContinuationToken") == 0)
    set(&reader->page->next, text);
  else if (strcmp(what, "/EncodingType") == 0)
    reader->escaped = strcmp(text, "url") == 0;
  return true;
}

static bool versions_visit(void *user, const char *path, const char *text) {
  static const char root[] = "ListVersionsResult";
  PageReader *reader = user;
  if (strncmp(path, root, sizeof root - 1) != 0)
    return false;
  const char *what = path + sizeof root - 1;
  bool mark = strncmp(what, "/DeleteMarker", 13) == 0;
  const char *member = mark ? what + 13 : strncmp(what, "/Version", 8) == 0 ? what + 8 : NULL;
  if (member && !*member)
    return take_object(reader, true, mark);
  if (member && strcmp(member, "/Key") == 0)
    set(&reader->now.key, text);
  else if (member && strcmp(member, "/VersionId") == 0)
    set(&reader->now.version, text);
  else if (member && strcmp(member, "/Size") == 0)
    return take_size(reader, text);
  else if (strcmp(what, "/IsTruncated") == 0)
    reader->page->truncated = strcmp(text, "true") == 0;
  else if (strcmp(what, "/NextKeyMarker") == 0)
    set(&reader->page->next, text);
  else if (strcmp(what, "/NextVersionIdMarker") == 0)
    set(&reader->page->next_version, text);
  else if (strcmp(what, "/EncodingType") == 0)
    reader->escaped = strcmp(text, "url") == 0;
  return true;
}

void s3_page_release(S3Page *page) {
  for (size_t i = 0; i < page->count; i++) {
    free(page->items[i].key);
    free(page->items[i].version);
  }
  free(page->items);
  free(page->next);
  free(page->next_version);
  *page = (S3Page){0};
}

static bool parse_page(const void *data, size_t size, S3XmlVisit *visit, bool next_is_key, S3Page *page) {
  *page = (S3Page){0};
  PageReader reader = {.page = page};
  bool good = s3_xml_parse(data, size, visit, &reader);
  free(reader.now.key);
  free(reader.now.version);
  /* where in the document it says how keys are written is up to the server */
  for (size_t i = 0; good && reader.escaped && i < page->count; i++)
    good = unescape(page->items[i].key);
  if (good && reader.escaped && next_is_key && page->next)
    good = unescape(page->next);
  if (!good)
    s3_page_release(page);
  return good;
}

bool s3_page_parse(const void *data, size_t size, S3Page *page) {
  return parse_page(data, size, page_visit, false, page);
}

bool s3_versions_parse(const void *data, size_t size, S3Page *page) {
  return parse_page(data, size, versions_visit, true, page);
}

/* ---- an error -------------------------------------------------------------------------------------- */

typedef struct ErrorReader {
  char *code, *message, *region;
  size_t code_size, message_size, region_size;
} ErrorReader;

static bool error_visit(void *user, const char *path, const char *text) {
  ErrorReader *reader = user;
  const char *last = strrchr(path, '/');
  if (!last || !(strncmp(path, "Error/", 6) == 0 || strncmp(path, "ErrorResponse/Error/", 20) == 0))
    return true;
  if (strcmp(last, "/Code") == 0)
    text_clean(text, reader->code, reader->code_size);
  else if (strcmp(last, "/Message") == 0)
    text_clean(text, reader->message, reader->message_size);
  else if (strcmp(last, "/Region") == 0)
    text_clean(text, reader->region, reader->region_size);
  return true;
}

void s3_error_parse(const void *data, size_t size, char *code, size_t code_size, char *message, size_t message_size,
                    char *region, size_t region_size) {
  ErrorReader reader = {code, message, region, code_size, message_size, region_size};
  *code = *message = '\0';
  (void)s3_xml_parse(data, size, error_visit, &reader); /* of one that is cut, what was there */
}
