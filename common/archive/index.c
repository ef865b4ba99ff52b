#include "common/archive/index.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* For each entry a list of others: items[starts[e]] .. items[starts[e + 1]]. */
typedef struct Lists {
  size_t *starts;
  long *items;
} Lists;

struct ArchiveIndex {
  const ArchiveToc *toc;
  long *by_id, *by_name; /* all entries, sorted */
  long *parents;         /* by entry, as partition_of */
  long *partition_of;
  Lists parts, users;
};

static bool is_one_of(const char *desc, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(desc, names[i]) == 0)
      return true;
  return false;
}

static bool is(const ArchiveEntry *entry, const char *desc) {
  return strcmp(entry->desc, desc) == 0;
}

static const char *const RELATIONS[] = {"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE"};

bool archive_is_relation(const ArchiveEntry *entry) {
  return is_one_of(entry->desc, RELATIONS, ARRAY_SIZE(RELATIONS));
}

bool archive_is_table(const ArchiveEntry *entry) {
  return is(entry, "TABLE") || is(entry, "FOREIGN TABLE");
}

bool archive_is_data(const ArchiveEntry *entry) {
  static const char *const data[] = {"TABLE DATA", "SEQUENCE SET",  "BLOBS",
                                     "BLOB",       "BLOB METADATA", "MATERIALIZED VIEW DATA"};
  static const char large[] = "LARGE OBJECT";
  bool about = is(entry, "ACL") || is(entry, "COMMENT") || is(entry, "SECURITY LABEL");
  return is_one_of(entry->desc, data, ARRAY_SIZE(data)) || (about && strncmp(entry->tag, large, sizeof large - 1) == 0);
}

/* ---- finding ---- */

static int by_dump_id(const void *a, const void *b, void *user) {
  const ArchiveEntry *entries = user;
  int x = entries[*(const long *)a].dump_id, y = entries[*(const long *)b].dump_id;
  return (x > y) - (x < y);
}

static int name_order(const ArchiveEntry *a, const ArchiveEntry *b) {
  int order = strcmp(a->desc, b->desc);
  order = order ? order : strcmp(a->schema, b->schema);
  return order ? order : strcmp(a->tag, b->tag);
}

static int by_entry_name(const void *a, const void *b, void *user) {
  const ArchiveEntry *entries = user;
  long x = *(const long *)a, y = *(const long *)b;
  int order = name_order(&entries[x], &entries[y]);
  return order ? order : (x > y) - (x < y);
}

long archive_index_by_id(const ArchiveIndex *index, int dump_id) {
  size_t low = 0, high = index->toc->entry_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (index->toc->entries[index->by_id[middle]].dump_id < dump_id)
      low = middle + 1;
    else
      high = middle;
  }
  bool found = low < index->toc->entry_count && index->toc->entries[index->by_id[low]].dump_id == dump_id;
  return found ? index->by_id[low] : ARCHIVE_NO_ENTRY;
}

long archive_index_find(const ArchiveIndex *index, const char *desc, const char *schema, const char *tag) {
  const ArchiveEntry key = {.desc = (char *)desc, .schema = (char *)schema, .tag = (char *)tag};
  size_t low = 0, high = index->toc->entry_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (name_order(&index->toc->entries[index->by_name[middle]], &key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  bool found = low < index->toc->entry_count && name_order(&index->toc->entries[index->by_name[low]], &key) == 0;
  return found ? index->by_name[low] : ARCHIVE_NO_ENTRY;
}

long archive_index_relation(const ArchiveIndex *index, const char *schema, const char *name) {
  long found = ARCHIVE_NO_ENTRY;
  for (size_t i = 0; found == ARCHIVE_NO_ENTRY && i < ARRAY_SIZE(RELATIONS); i++)
    found = archive_index_find(index, RELATIONS[i], schema, name);
  return found;
}

/* ---- what belongs to what ---- */

/* The first dependency that `fits`; ARCHIVE_NO_ENTRY if there is none. */
static long dependency(const ArchiveIndex *index, const ArchiveEntry *entry,
                       bool (*fits)(const ArchiveEntry *entry, const ArchiveEntry *other)) {
  for (size_t i = 0; i < entry->dependency_count; i++) {
    long other = archive_index_by_id(index, entry->dependencies[i]);
    if (other != ARCHIVE_NO_ENTRY && &index->toc->entries[other] != entry && fits(entry, &index->toc->entries[other]))
      return other;
  }
  return ARCHIVE_NO_ENTRY;
}

static bool fits_any(const ArchiveEntry *entry, const ArchiveEntry *other) {
  (void)entry;
  (void)other;
  return true;
}

static bool fits_table(const ArchiveEntry *entry, const ArchiveEntry *other) {
  (void)entry;
  return archive_is_table(other);
}

static bool fits_relation(const ArchiveEntry *entry, const ArchiveEntry *other) {
  (void)entry;
  return archive_is_relation(other);
}

static bool fits_namesake(const ArchiveEntry *entry, const ArchiveEntry *other) {
  return archive_is_relation(other) && strcmp(other->schema, entry->schema) == 0 && strcmp(other->tag, entry->tag) == 0;
}

/* INDEX ATTACH has the tag of the child's index, which may be that of a constraint: "table index". */
static bool fits_index(const ArchiveEntry *entry, const ArchiveEntry *other) {
  if (strcmp(other->schema, entry->schema) != 0)
    return false;
  if (is(other, "INDEX"))
    return strcmp(other->tag, entry->tag) == 0;
  size_t size = strlen(entry->tag), other_size = strlen(other->tag);
  return is(other, "CONSTRAINT") && other_size > size + 1 && other->tag[other_size - size - 1] == ' ' &&
         strcmp(other->tag + other_size - size, entry->tag) == 0;
}

static bool has_owner_kind(const ArchiveEntry *entry) {
  return archive_is_relation(entry) || is(entry, "DOMAIN");
}

/* Of several tables that an entry depends on, its own is named first: "ALTER TABLE ONLY own ADD CONSTRAINT ... FOREIGN
 * KEY ... REFERENCES other", "CREATE TRIGGER ... ON own FROM other", "CREATE RULE ... TO own DO ... other". */
static long named_first(const ArchiveIndex *index, const ArchiveEntry *entry) {
  const char *at = entry->defn, *end = at + strlen(at);
  while (at < end) {
    char *names[2] = {NULL, NULL};
    const char *next = at;
    size_t count = sql_take_qualified(&next, end, names, 2);
    long found = ARCHIVE_NO_ENTRY;
    for (size_t i = 0; count == 2 && i < entry->dependency_count && found == ARCHIVE_NO_ENTRY; i++) {
      long other = archive_index_by_id(index, entry->dependencies[i]);
      const ArchiveEntry *candidate = other == ARCHIVE_NO_ENTRY ? NULL : &index->toc->entries[other];
      if (candidate && has_owner_kind(candidate) && strcmp(candidate->schema, names[0]) == 0 &&
          strcmp(candidate->tag, names[1]) == 0)
        found = other;
    }
    free(names[0]);
    free(names[1]);
    if (found != ARCHIVE_NO_ENTRY)
      return found;
    const char *token_end = sql_skip_token(at, end);
    at = count && next > token_end ? next : token_end;
  }
  return ARCHIVE_NO_ENTRY;
}

/* What a constraint, index, trigger, ... is on. */
static long part_owner(const ArchiveIndex *index, const ArchiveEntry *entry) {
  long only = ARCHIVE_NO_ENTRY;
  bool several = false;
  for (size_t i = 0; i < entry->dependency_count; i++) {
    long other = archive_index_by_id(index, entry->dependencies[i]);
    if (other == ARCHIVE_NO_ENTRY || !has_owner_kind(&index->toc->entries[other]))
      continue;
    several |= only != ARCHIVE_NO_ENTRY && only != other;
    only = other;
  }
  if (several)
    return named_first(index, entry);
  return only == ARCHIVE_NO_ENTRY && is(entry, "ROW SECURITY")
             ? archive_index_relation(index, entry->schema, entry->tag)
             : only;
}

static long find_parent(const ArchiveIndex *index, const ArchiveEntry *entry) {
  static const char *const about[] = {"COMMENT", "ACL", "SECURITY LABEL", "SEQUENCE SET", "SEQUENCE OWNED BY"};
  static const char *const namesakes[] = {"TABLE DATA", "MATERIALIZED VIEW DATA", "TABLE ATTACH"};
  static const char *const on_table[] = {"DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX",
                                         "TRIGGER", "RULE",       "POLICY",           "ROW SECURITY",  "STATISTICS"};
  if (is_one_of(entry->desc, about, ARRAY_SIZE(about)))
    return dependency(index, entry, fits_any);
  if (is_one_of(entry->desc, namesakes, ARRAY_SIZE(namesakes)))
    return dependency(index, entry, fits_namesake);
  if (is_one_of(entry->desc, on_table, ARRAY_SIZE(on_table)))
    return part_owner(index, entry);
  if (is(entry, "SEQUENCE"))
    return dependency(index, entry, fits_table);
  if (is(entry, "INDEX ATTACH"))
    return dependency(index, entry, fits_index);
  return is(entry, "PUBLICATION TABLE") ? dependency(index, entry, fits_relation) : ARCHIVE_NO_ENTRY;
}

/* A statement of the column list's tail; strings in it can only look like this if somebody means them to. */
static bool is_partitioned(const ArchiveEntry *entry) {
  return is(entry, "TABLE") && (entry->relkind == 'p' || strstr(entry->defn, "\n)\nPARTITION BY ") != NULL);
}

static bool fits_partitioned(const ArchiveEntry *entry, const ArchiveEntry *other) {
  return archive_is_table(entry) && is_partitioned(other);
}

/* ---- making ---- */

static void sort_entries(ArchiveIndex *index) {
  size_t count = index->toc->entry_count;
  index->by_id = memory_alloc((count + 1) * sizeof(long));
  index->by_name = memory_alloc((count + 1) * sizeof(long));
  for (size_t i = 0; i < count; i++)
    index->by_id[i] = index->by_name[i] = (long)i;
  qsort_r(index->by_id, count, sizeof(long), by_dump_id, index->toc->entries);
  qsort_r(index->by_name, count, sizeof(long), by_entry_name, index->toc->entries);
}

typedef struct Link {
  long of, item;
} Link;

static int by_link(const void *a, const void *b) {
  const Link *x = a, *y = b;
  return x->of != y->of ? (x->of > y->of) - (x->of < y->of) : (x->item > y->item) - (x->item < y->item);
}

/* Sorts the links into lists; doubled ones are one. */
static void make_lists(Lists *lists, Link *links, size_t count, size_t entry_count) {
  if (count)
    qsort(links, count, sizeof *links, by_link);
  lists->starts = memory_alloc((entry_count + 1) * sizeof(size_t));
  lists->items = memory_alloc((count + 1) * sizeof(long));
  size_t used = 0, next = 0;
  for (size_t entry = 0; entry < entry_count; entry++) {
    lists->starts[entry] = used;
    for (; next < count && links[next].of == (long)entry; next++)
      if (used == lists->starts[entry] || lists->items[used - 1] != links[next].item)
        lists->items[used++] = links[next].item;
  }
  lists->starts[entry_count] = used;
}

static void link_users(ArchiveIndex *index) {
  const ArchiveToc *toc = index->toc;
  CLEANUP_FREE Link *links = NULL;
  size_t count = 0;
  for (size_t i = 0; i < toc->entry_count; i++)
    for (size_t d = 0; d < toc->entries[i].dependency_count; d++) {
      Link link = {archive_index_by_id(index, toc->entries[i].dependencies[d]), (long)i};
      if (link.of != ARCHIVE_NO_ENTRY && link.of != link.item)
        ARRAY_PUSH(links, count, link);
    }
  make_lists(&index->users, links, count, toc->entry_count);
}

static void link_parts(ArchiveIndex *index) {
  const ArchiveToc *toc = index->toc;
  CLEANUP_FREE Link *links = NULL;
  size_t count = 0;
  index->parents = memory_alloc((toc->entry_count + 1) * sizeof(long));
  for (size_t i = 0; i < toc->entry_count; i++) {
    index->parents[i] = find_parent(index, &toc->entries[i]);
    Link link = {index->parents[i], (long)i};
    if (link.of != ARCHIVE_NO_ENTRY)
      ARRAY_PUSH(links, count, link);
  }
  make_lists(&index->parts, links, count, toc->entry_count);
}

/* Mostly the partition's TABLE depends on its parent; always its TABLE ATTACH does. */
static void link_partitions(ArchiveIndex *index) {
  const ArchiveToc *toc = index->toc;
  index->partition_of = memory_alloc((toc->entry_count + 1) * sizeof(long));
  for (size_t i = 0; i < toc->entry_count; i++)
    index->partition_of[i] =
        archive_is_table(&toc->entries[i]) ? dependency(index, &toc->entries[i], fits_partitioned) : ARCHIVE_NO_ENTRY;
  for (size_t i = 0; i < toc->entry_count; i++) {
    long child = index->parents[i];
    if (!is(&toc->entries[i], "TABLE ATTACH") || child == ARCHIVE_NO_ENTRY)
      continue;
    for (size_t d = 0; d < toc->entries[i].dependency_count; d++) {
      long other = archive_index_by_id(index, toc->entries[i].dependencies[d]);
      if (other != ARCHIVE_NO_ENTRY && other != child && is_partitioned(&toc->entries[other]))
        index->partition_of[child] = other;
    }
  }
}

ArchiveIndex *archive_index_new(const ArchiveToc *toc) {
  ArchiveIndex *index = memory_alloc(sizeof *index);
  index->toc = toc;
  sort_entries(index);
  link_users(index);
  link_parts(index);
  link_partitions(index);
  return index;
}

void archive_index_free(ArchiveIndex *index) {
  if (!index)
    return;
  free(index->by_id);
  free(index->by_name);
  free(index->parents);
  free(index->partition_of);
  free(index->parts.starts);
  free(index->parts.items);
  free(index->users.starts);
  free(index->users.items);
  free(index);
}

/* ---- reading ---- */

const ArchiveToc *archive_index_toc(const ArchiveIndex *index) {
  return index->toc;
}

long archive_index_parent(const ArchiveIndex *index, long entry) {
  return index->parents[entry];
}

long archive_index_owner(const ArchiveIndex *index, long entry) {
  /* Bounded: a hostile TOC can have circles. */
  for (int step = 0; step < 8 && index->parents[entry] != ARCHIVE_NO_ENTRY; step++)
    entry = index->parents[entry];
  return entry;
}

static size_t list(const Lists *lists, long entry, const long **items) {
  *items = lists->items + lists->starts[entry];
  return lists->starts[entry + 1] - lists->starts[entry];
}

size_t archive_index_parts(const ArchiveIndex *index, long entry, const long **items) {
  return list(&index->parts, entry, items);
}

size_t archive_index_users(const ArchiveIndex *index, long entry, const long **items) {
  return list(&index->users, entry, items);
}

long archive_index_partition_of(const ArchiveIndex *index, long entry) {
  return index->partition_of[entry];
}
