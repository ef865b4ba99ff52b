/* The database of data/shop.sql as pg_dump 13, 15 and 17 wrote it, read and indexed. */
#ifndef PGSEAL_TESTS_SHOP_FIXTURE_H
#define PGSEAL_TESTS_SHOP_FIXTURE_H

#include "archive_fixture.h"

#include "common/archive/index.h"

static const char *const SHOPS[] = {"pg13-shop.dump", "pg15-shop.dump", "pg17-shop.dump"};
__attribute__((unused)) static const char *const SHOPS_DAMAGED[] = {"pg13-shop-damaged.dump", "pg15-shop-damaged.dump",
                                                                    "pg17-shop-damaged.dump"};
__attribute__((unused)) static const char *const SHOPS_DROPPED[] = {"pg13-shop-dropped.dump", "pg15-shop-dropped.dump",
                                                                    "pg17-shop-dropped.dump"};
enum { SHOP_COUNT = sizeof SHOPS / sizeof *SHOPS };

#define ODD "Odd \"Schema"

typedef struct Shop {
  Buffer bytes;
  ArchiveReader *reader;
  const ArchiveToc *toc;
  ArchiveIndex *index;
} Shop;

__attribute__((unused)) static void shop_release(Shop *shop) {
  archive_index_free(shop->index);
  archive_reader_free(shop->reader);
  buffer_release(&shop->bytes);
}

__attribute__((unused)) static Shop shop_load(const char *name) {
  Shop shop = {.bytes = load(name), .reader = archive_reader_new(&(ArchiveCallbacks){0}, NULL)};
  Error err;
  if (archive_reader_feed(shop.reader, shop.bytes.data, shop.bytes.size, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  shop.toc = archive_reader_toc(shop.reader);
  shop.index = archive_index_new(shop.toc);
  return shop;
}

__attribute__((unused)) static long shop_find(const Shop *shop, const char *desc, const char *schema, const char *tag) {
  long entry = archive_index_find(shop->index, desc, schema, tag);
  if (entry == ARCHIVE_NO_ENTRY)
    fail_msg("no %s %s.%s", desc, schema, tag);
  return entry;
}

__attribute__((unused)) static const ArchiveEntry *shop_entry(const Shop *shop, const char *desc, const char *schema,
                                                              const char *tag) {
  return &shop->toc->entries[shop_find(shop, desc, schema, tag)];
}

#endif
