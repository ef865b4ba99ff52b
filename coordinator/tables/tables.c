#include "coordinator/tables/tables.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/manifest/table_list.h"

/* A byte of a name may be six of JSON. */
enum { PACK_LEVEL = 3, TEXT_LIMIT = 8 * TABLE_LIST_BYTES };

void tables_release(Tables *tables) {
  for (size_t i = 0; i < tables->count; i++) {
    free(tables->items[i].schema);
    free(tables->items[i].name);
  }
  free(tables->items);
  *tables = (Tables){0};
}

static int by_name(const void *a, const void *b) {
  const Table *left = a, *right = b;
  int order = strcmp(left->schema, right->schema);
  return order ? order : strcmp(left->name, right->name);
}

static bool in_order(const Tables *tables) {
  for (size_t i = 1; i < tables->count; i++)
    if (by_name(&tables->items[i - 1], &tables->items[i]) > 0)
      return false;
  return true;
}

/* Out of the ledger they come in their order. */
static void finish(Tables *tables) {
  if (!in_order(tables))
    qsort(tables->items, tables->count, sizeof *tables->items, by_name);
  tables->least = 0;
  for (size_t i = 0; i < tables->count; i++)
    if (i == 0 || tables->items[i].bytes < tables->least)
      tables->least = tables->items[i].bytes;
}

/* ---- from an agent ---- */

static bool name_valid(const char *name) {
  size_t size = 0, length;
  while ((length = text_utf8_length(name + size)) > 0)
    size += length;
  return !name[size] && size <= TABLE_LIST_NAME;
}

/* What is wrong with it; NULL: nothing. */
static const char *take_all(const Pgseal__TableList *list, Tables *out) {
  int64_t bytes = 0;
  size_t cost = 0;
  if (list->n_tables > TABLE_LIST_COUNT || list->more > INT32_MAX)
    return "there are too many";
  for (size_t i = 0; i < list->n_tables; i++) {
    const Pgseal__TableFacts *from = list->tables[i];
    if (!name_valid(from->schema) || !name_valid(from->name) || !from->name[0])
      return "a name is not valid";
    if (from->rows < 0 || from->bytes < 0 || __builtin_add_overflow(bytes, from->bytes, &bytes))
      return "it holds numbers that cannot be";
    cost += table_list_cost(from->schema, from->name);
    Table table = {memory_strdup(from->schema), memory_strdup(from->name), from->rows, from->bytes};
    ARRAY_PUSH(out->items, out->count, table);
  }
  out->more = (int64_t)list->more;
  return cost > TABLE_LIST_BYTES ? "it is too large" : NULL;
}

static bool adds_up(const Tables *tables, const Pgseal__DumpResult *dump) {
  int64_t rows = 0;
  for (size_t i = 0; i < tables->count; i++)
    if (__builtin_add_overflow(rows, tables->items[i].rows, &rows))
      return false;
  return (int64_t)tables->count + tables->more == dump->tables &&
         (tables->more ? rows <= dump->rows : rows == dump->rows);
}

Status tables_take(const Pgseal__DumpResult *dump, Tables *out, bool *told, Error *err) {
  Tables tables = {0};
  *told = dump->table_list != NULL;
  if (!*told)
    return STATUS_OK;
  const char *wrong = take_all(dump->table_list, &tables);
  if (!wrong && !adds_up(&tables, dump))
    wrong = "it does not add up to what the dump holds";
  if (wrong) {
    tables_release(&tables);
    return error_set(err, ERR_PROTOCOL, "the agent's list of tables is not valid: %s", wrong);
  }
  finish(&tables);
  *out = tables;
  return STATUS_OK;
}

/* ---- as the ledger keeps them ---- */

static char *text_of(const Tables *tables) {
  json_t *list = json_array();
  for (size_t i = 0; i < tables->count; i++) {
    const Table *table = &tables->items[i];
    json_array_append_new(
        list, json_pack("[s, s, I, I]", table->schema, table->name, (json_int_t)table->rows, (json_int_t)table->bytes));
  }
  json_t *json = json_pack("{s:I, s:o}", "more", (json_int_t)tables->more, "tables", list);
  char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
  json_decref(json);
  return text ? text : memory_strdup("");
}

char *tables_pack(const Tables *tables) {
  CLEANUP_FREE char *text = text_of(tables);
  size_t room = ZSTD_compressBound(strlen(text));
  CLEANUP_FREE uint8_t *packed = memory_alloc(room);
  size_t size = ZSTD_compress(packed, room, text, strlen(text), PACK_LEVEL);
  if (ZSTD_isError(size)) /* for want of memory alone: then nothing is kept, and nothing comes back */
    size = 0;
  char *out = memory_alloc((size + 2) / 3 * 4 + 1);
  EVP_EncodeBlock((uint8_t *)out, packed, (int)size);
  return out;
}

/* New reference; NULL: it makes no sense. */
static json_t *opened(const char *text) {
  size_t length = strlen(text);
  if (length == 0 || length % 4 || length > TEXT_LIMIT)
    return NULL;
  CLEANUP_FREE uint8_t *packed = memory_alloc(length);
  int size = EVP_DecodeBlock(packed, (const uint8_t *)text, (int)length);
  if (size <= 0)
    return NULL;
  size -= (text[length - 1] == '=') + (text[length - 2] == '=');
  unsigned long long plain = ZSTD_getFrameContentSize(packed, (size_t)size);
  if (plain > TEXT_LIMIT) /* unknown or an error, too */
    return NULL;
  CLEANUP_FREE char *out = memory_alloc((size_t)plain + 1);
  size_t got = ZSTD_decompress(out, (size_t)plain, packed, (size_t)size);
  return ZSTD_isError(got) ? NULL : json_loadb(out, got, JSON_REJECT_DUPLICATES, NULL);
}

static bool read_all(const json_t *json, Tables *out) {
  const json_t *list = json_object_get(json, "tables"), *more = json_object_get(json, "more"), *item;
  size_t index;
  if (!json_is_array(list) || !json_is_integer(more) || json_integer_value(more) < 0)
    return false;
  json_array_foreach(list, index, item) {
    const char *schema = json_string_value(json_array_get(item, 0)), *name = json_string_value(json_array_get(item, 1));
    if (!schema || !name)
      return false;
    Table table = {memory_strdup(schema), memory_strdup(name), json_integer_value(json_array_get(item, 2)),
                   json_integer_value(json_array_get(item, 3))};
    ARRAY_PUSH(out->items, out->count, table);
  }
  out->more = json_integer_value(more);
  return true;
}

Status tables_unpack(const char *text, Tables *out, Error *err) {
  Tables tables = {0};
  json_t *json = opened(text);
  bool good = read_all(json, &tables);
  json_decref(json);
  if (!good) {
    tables_release(&tables);
    return error_set(err, ERR_INTERNAL, "the ledger's list of tables cannot be read");
  }
  finish(&tables);
  *out = tables;
  return STATUS_OK;
}

/* ---- two of them ---- */

const char *table_change_name(TableChange change) {
  static const char *const names[] = {"same", "changed", "added", "removed", "unlisted"};
  return names[change];
}

/* How a list tells names that are not ASCII. */
typedef struct Names {
  bool bytes, letters;
} Names;

static bool is_ascii(const char *name) {
  while (*name && (unsigned char)*name < 128)
    name++;
  return !*name;
}

static bool has_bytes(const Table *table) {
  return table_list_is_bytes(table->schema) || table_list_is_bytes(table->name);
}

static bool has_letters(const Table *table) {
  return !is_ascii(table->schema) || !is_ascii(table->name);
}

static Names names_of(const Tables *tables) {
  Names names = {0};
  for (size_t i = 0; i < tables->count; i++) {
    names.bytes = names.bytes || has_bytes(&tables->items[i]);
    names.letters = names.letters || has_letters(&tables->items[i]);
  }
  return names;
}

/* One list has such names in letters and the other, of a ledger made anew or of an older agent, as bytes: which is
 * which cannot be known. */
static bool told_otherwise(const Tables *before, const Tables *now) {
  Names left = names_of(before), right = names_of(now);
  return (left.bytes && !right.bytes && right.letters) || (right.bytes && !left.bytes && left.letters);
}

static TablePair pair_of(const Table *before, const Table *now, const Tables *all_before, const Tables *all_now,
                         bool otherwise) {
  TableChange change = TABLE_SAME;
  const Table *table = before ? before : now;
  if ((!before || !now) && otherwise && (has_bytes(table) || has_letters(table)))
    change = TABLE_UNLISTED;
  else if (!before)
    change = all_before->more ? TABLE_UNLISTED : TABLE_ADDED;
  else if (!now)
    change = all_now->more ? TABLE_UNLISTED : TABLE_REMOVED;
  else if (before->rows != now->rows || before->bytes != now->bytes)
    change = TABLE_CHANGED;
  return (TablePair){before, now, change};
}

void tables_compare(const Tables *before, const Tables *now, TablePair **pairs, size_t *count) {
  TablePair *list = memory_alloc((before->count + now->count + 1) * sizeof *list);
  size_t used = 0;
  bool otherwise = told_otherwise(before, now);
  for (size_t i = 0, j = 0; i < before->count || j < now->count;) {
    int order = i == before->count ? 1 : j == now->count ? -1 : by_name(&before->items[i], &now->items[j]);
    const Table *left = order <= 0 ? &before->items[i++] : NULL, *right = order >= 0 ? &now->items[j++] : NULL;
    list[used++] = pair_of(left, right, before, now, otherwise);
  }
  *pairs = list;
  *count = used;
}

static bool lost(int64_t before, int64_t now, int percent) {
  return (double)now <= (double)before * (1 - percent / 100.0);
}

bool table_fallen(const TablePair *pair, const Tables *now, const TableLimits *limits) {
  if (!pair->before || pair->before->rows < limits->least_rows || pair->before->rows == 0)
    return false;
  if (pair->now)
    return lost(pair->before->rows, pair->now->rows, limits->percent);
  if (pair->change == TABLE_UNLISTED && (now->more == 0 || has_bytes(pair->before)))
    return false; /* it may be there, by a name told otherwise */
  return pair->change == TABLE_REMOVED || lost(pair->before->bytes, now->least, limits->percent);
}
