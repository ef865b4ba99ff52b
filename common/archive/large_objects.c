#include "common/archive/large_objects.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* pg_dump 17 puts 1000 objects into a group, whose grants are a few lines. */
enum { GROUP_LIMIT = 10 * 1000, GRANTS_LIMIT = 1 << 20, OID_DIGITS = 10 };

static const char ACL_GROUP[] = "LARGE OBJECTS ", ACL_NAME[] = "LARGE OBJECT ";

typedef struct Group { /* BLOB METADATA entries, sorted by dump id */
  const ArchiveEntry **items;
  size_t count;
} Group;

static void group_release(Group *group) {
  free(group->items);
}

static bool is_metadata(const ArchiveEntry *entry) {
  return strcmp(entry->desc, "BLOB METADATA") == 0;
}

static bool is_group_acl(const ArchiveEntry *entry) {
  return strcmp(entry->desc, "ACL") == 0 && strncmp(entry->tag, ACL_GROUP, sizeof ACL_GROUP - 1) == 0;
}

static int by_dump_id(const void *a, const void *b) {
  int x = (*(const ArchiveEntry *const *)a)->dump_id, y = (*(const ArchiveEntry *const *)b)->dump_id;
  return (x > y) - (x < y);
}

/* The group whose grants an ACL entry holds: the entry it depends on first. */
static const ArchiveEntry *find_group(const Group *groups, const ArchiveEntry *acl) {
  if (acl->dependency_count == 0 || groups->count == 0)
    return NULL;
  ArchiveEntry wanted = {.dump_id = acl->dependencies[0]};
  const ArchiveEntry *key = &wanted;
  const ArchiveEntry **found = bsearch(&key, groups->items, groups->count, sizeof *groups->items, by_dump_id);
  return found ? *found : NULL;
}

/* The number of objects listed in "oid\noid\n"; 0 if that is not what it is. */
static size_t count_objects(const char *list) {
  size_t count = 0;
  while (*list && count <= GROUP_LIMIT) {
    size_t digits = strspn(list, "0123456789");
    if (digits == 0 || digits > OID_DIGITS || list[digits] != '\n')
      return 0;
    list += digits + 1;
    count++;
  }
  return count <= GROUP_LIMIT ? count : 0;
}

/* The grants, which name one object of the group, said of another: "GRANT ... ON LARGE OBJECT 1 TO ...;". */
static char *grants_on(const char *grants, const char *oid) {
  Buffer out = {0};
  bool quoted = false;
  for (const char *at = grants; *at;) {
    quoted ^= *at == '"';
    if (!quoted && strncmp(at, ACL_NAME, sizeof ACL_NAME - 1) == 0) {
      buffer_append_format(&out, "%s%s", ACL_NAME, oid);
      at += sizeof ACL_NAME - 1;
      at += strspn(at, "0123456789");
    } else {
      buffer_append_byte(&out, (uint8_t)*at++);
    }
  }
  return buffer_steal_text(&out);
}

static void split_metadata(const ArchiveEntry *entry, void (*each)(void *user, const ArchiveEntry *entry), void *user) {
  for (const char *at = entry->defn; *at;) {
    size_t digits = strspn(at, "0123456789");
    CLEANUP_FREE char *oid = memory_strndup(at, digits), *line = memory_strndup(at, digits + 1);
    ArchiveEntry one = *entry;
    one.tag = oid;
    one.defn = line;
    each(user, &one);
    at += digits + 1;
  }
}

static void split_acl(const ArchiveEntry *entry, const char *list, void (*each)(void *user, const ArchiveEntry *entry),
                      void *user) {
  for (const char *at = list; *at;) {
    size_t digits = strspn(at, "0123456789");
    CLEANUP_FREE char *oid = memory_strndup(at, digits), *tag = memory_format("%s%s", ACL_NAME, oid);
    CLEANUP_FREE char *defn = grants_on(entry->defn, oid);
    ArchiveEntry one = *entry;
    one.tag = tag;
    one.defn = defn;
    each(user, &one);
    at += digits + 1;
  }
}

void large_objects_split(const ArchiveToc *toc, void (*each)(void *user, const ArchiveEntry *entry), void *user) {
  CLEANUP(group_release) Group groups = {0};
  for (size_t i = 0; i < toc->entry_count; i++)
    if (is_metadata(&toc->entries[i]) && count_objects(toc->entries[i].defn) > 0)
      ARRAY_PUSH(groups.items, groups.count, &toc->entries[i]);
  if (groups.count)
    qsort(groups.items, groups.count, sizeof *groups.items, by_dump_id);
  for (size_t i = 0; i < toc->entry_count; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    const ArchiveEntry *group =
        is_group_acl(entry) && strlen(entry->defn) <= GRANTS_LIMIT ? find_group(&groups, entry) : NULL;
    if (is_metadata(entry) && count_objects(entry->defn) > 0)
      split_metadata(entry, each, user);
    else if (group)
      split_acl(entry, group->defn, each, user);
    else
      each(user, entry);
  }
}
