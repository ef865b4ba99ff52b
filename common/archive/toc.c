#include "common/archive/toc.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum {
  STRING_LIMIT = 256 << 20, /* a statement; PostgreSQL itself cannot hold more than 1 GiB in a field */
  ENTRY_LIMIT = 20 * 1000 * 1000,
  DEPENDENCY_LIMIT = 10 * 1000 * 1000,
  FORMAT_CUSTOM = 1,
  OLDEST_MINOR = 12,
  NEWEST_MINOR = 16
};

uint8_t toc_read_byte(TocCursor *cursor) {
  if (cursor->pos >= cursor->size || cursor->short_of_data || cursor->invalid) {
    cursor->short_of_data = true;
    return 0;
  }
  return cursor->data[cursor->pos++];
}

int64_t toc_read_int(TocCursor *cursor) {
  uint8_t sign = toc_read_byte(cursor);
  uint64_t value = 0;
  for (int i = 0; i < cursor->int_size; i++)
    value |= (uint64_t)toc_read_byte(cursor) << (8 * i);
  if (cursor->short_of_data)
    return 0;
  if (sign > 1 || value > INT64_MAX || (sign && value == 0)) { /* pg_dump writes no minus zero */
    cursor->invalid = true;
    return 0;
  }
  return sign ? -(int64_t)value : (int64_t)value;
}

/* A string as ReadStr: length -1 is NULL. present: tells NULL from "". With out NULL it is skipped. */
static void read_string(TocCursor *cursor, char **out, bool *present) {
  int64_t length = toc_read_int(cursor);
  if (present)
    *present = length >= 0;
  if (cursor->short_of_data || cursor->invalid)
    return;
  if (length < 0)
    length = 0;
  if (length > STRING_LIMIT) {
    cursor->invalid = true;
    return;
  }
  if ((uint64_t)length > cursor->size - cursor->pos) {
    cursor->short_of_data = true;
    return;
  }
  const uint8_t *text = cursor->data + cursor->pos;
  if (memchr(text, 0, (size_t)length)) {
    cursor->invalid = true;
    return;
  }
  if (out) {
    free(*out);
    *out = memory_strndup((const char *)text, (size_t)length);
  }
  cursor->pos += (size_t)length;
}

static void header_release(ArchiveHeader *header) {
  free(header->database);
  free(header->server_version);
  free(header->dump_version);
  memset(header, 0, sizeof *header);
}

static Status invalid(Error *err, const char *what) {
  return error_set(err, ERR_ARCHIVE_FORMAT, "the archive is damaged, or is not a custom-format pg_dump archive: %s",
                   what);
}

/* Magic, version and sizes: the part before anything of variable length. */
static Status parse_prefix(TocCursor *cursor, ArchiveHeader *header, Error *err) {
  if (memcmp(cursor->data, "PGDMP", 5) != 0)
    return invalid(err, "it does not start with PGDMP");
  cursor->pos = 5;
  header->version_major = toc_read_byte(cursor);
  header->version_minor = toc_read_byte(cursor);
  header->version_revision = toc_read_byte(cursor);
  header->int_size = toc_read_byte(cursor);
  header->offset_size = toc_read_byte(cursor);
  int format = toc_read_byte(cursor);
  if (header->version_major != 1 || header->version_minor < OLDEST_MINOR || header->version_minor > NEWEST_MINOR)
    return error_set(err, ERR_ARCHIVE_VERSION, "the archive is of format version %d.%d; this pgseal reads 1.%d to 1.%d",
                     header->version_major, header->version_minor, OLDEST_MINOR, NEWEST_MINOR);
  if (header->int_size < 4 || header->int_size > 8 || header->offset_size < 4 || header->offset_size > 8)
    return invalid(err, "impossible integer sizes");
  if (format != FORMAT_CUSTOM)
    return error_set(err, ERR_ARCHIVE_FORMAT,
                     "the archive is of pg_dump's format %d; only the custom format (-Fc) is read", format);
  cursor->int_size = header->int_size;
  return STATUS_OK;
}

Status toc_parse_header(const uint8_t *data, size_t size, ArchiveHeader *header, size_t *entry_count, size_t *used,
                        Error *err) {
  *used = 0;
  if (size < 11)
    return memcmp(data, "PGDMP", size < 5 ? size : 5) ? invalid(err, "it does not start with PGDMP") : STATUS_OK;
  TocCursor cursor = {.data = data, .size = size};
  ArchiveHeader parsed = {0};
  Status status = parse_prefix(&cursor, &parsed, err);
  if (status)
    return status;
  /* 1.15 replaced the compression level by the algorithm's number. */
  parsed.compression = parsed.version_minor >= 15 ? toc_read_byte(&cursor) : (int)toc_read_int(&cursor);
  for (int i = 0; i < 7; i++) /* the time of the dump: sec, min, hour, mday, mon, year, isdst */
    toc_read_int(&cursor);
  read_string(&cursor, &parsed.database, NULL);
  read_string(&cursor, &parsed.server_version, NULL);
  read_string(&cursor, &parsed.dump_version, NULL);
  int64_t count = toc_read_int(&cursor);
  if (cursor.short_of_data || cursor.invalid || count < 0 || count > ENTRY_LIMIT) {
    bool more = cursor.short_of_data && !cursor.invalid;
    header_release(&parsed);
    return more ? STATUS_OK : invalid(err, "its header makes no sense");
  }
  *header = parsed;
  *entry_count = (size_t)count;
  *used = cursor.pos;
  return STATUS_OK;
}

/* An OID or a number written as text. */
static bool text_is_number(const char *text) {
  return *text && strspn(text, "0123456789") == strlen(text) && strlen(text) < 20;
}

static void read_dependencies(TocCursor *cursor, ArchiveEntry *entry) {
  for (;;) {
    CLEANUP_FREE char *text = NULL;
    bool present = false;
    read_string(cursor, &text, &present);
    if (cursor->short_of_data || cursor->invalid || !present)
      return;
    if (!text_is_number(text) || entry->dependency_count >= DEPENDENCY_LIMIT) {
      cursor->invalid = true;
      return;
    }
    ARRAY_PUSH(entry->dependencies, entry->dependency_count, (int)strtol(text, NULL, 10));
  }
}

/* An OID as text; what is none is 0: nothing but advice hangs on it. */
static uint32_t read_oid(TocCursor *cursor) {
  CLEANUP_FREE char *text = NULL;
  read_string(cursor, &text, NULL);
  unsigned long value = text && text_is_number(text) ? strtoul(text, NULL, 10) : 0;
  return value <= UINT32_MAX ? (uint32_t)value : 0;
}

static void read_fields(TocCursor *cursor, const ArchiveHeader *header, ArchiveEntry *entry) {
  read_string(cursor, NULL, NULL); /* catalog table's OID */
  entry->oid = read_oid(cursor);
  read_string(cursor, &entry->tag, NULL);
  read_string(cursor, &entry->desc, NULL);
  entry->section = (ArchiveSection)toc_read_int(cursor);
  read_string(cursor, &entry->defn, NULL);
  read_string(cursor, &entry->drop_stmt, NULL);
  read_string(cursor, &entry->copy_stmt, NULL);
  read_string(cursor, &entry->schema, NULL);
  read_string(cursor, &entry->tablespace, NULL);
  if (header->version_minor >= 14)
    read_string(cursor, &entry->table_am, NULL);
  if (header->version_minor >= 16)
    entry->relkind = (int)toc_read_int(cursor);
  read_string(cursor, &entry->owner, NULL);
  read_string(cursor, NULL, NULL); /* "false": tables WITH OIDS are gone */
  read_dependencies(cursor, entry);
}

Status toc_parse_entry(const ArchiveHeader *header, const uint8_t *data, size_t size, uint64_t position,
                       ArchiveEntry *entry, size_t *used, Error *err) {
  *used = 0;
  TocCursor cursor = {.data = data, .size = size, .int_size = header->int_size};
  ArchiveEntry parsed = {0};
  int64_t dump_id = toc_read_int(&cursor);
  int64_t had_dumper = toc_read_int(&cursor);
  read_fields(&cursor, header, &parsed);
  parsed.offset_field = position + cursor.pos;
  for (int i = 0; i < 1 + header->offset_size; i++)
    toc_read_byte(&cursor);
  if (cursor.short_of_data && !cursor.invalid) {
    toc_entry_release(&parsed);
    return STATUS_OK;
  }
  if (cursor.invalid || dump_id <= 0 || dump_id > INT32_MAX || had_dumper < 0 || had_dumper > 1 ||
      parsed.section < ARCHIVE_SECTION_NONE || parsed.section > ARCHIVE_SECTION_POST_DATA) {
    toc_entry_release(&parsed);
    return invalid(err, "an entry of its table of contents makes no sense");
  }
  parsed.dump_id = (int)dump_id;
  parsed.had_dumper = had_dumper == 1;
  if (!parsed.table_am)
    parsed.table_am = memory_strdup("");
  *entry = parsed;
  *used = cursor.pos;
  return STATUS_OK;
}

void toc_entry_release(ArchiveEntry *entry) {
  free(entry->tag);
  free(entry->desc);
  free(entry->defn);
  free(entry->drop_stmt);
  free(entry->copy_stmt);
  free(entry->schema);
  free(entry->tablespace);
  free(entry->table_am);
  free(entry->owner);
  free(entry->dependencies);
  memset(entry, 0, sizeof *entry);
}

void toc_release(ArchiveToc *toc) {
  for (size_t i = 0; i < toc->entry_count; i++)
    toc_entry_release(&toc->entries[i]);
  free(toc->entries);
  header_release(&toc->header);
  memset(toc, 0, sizeof *toc);
}
