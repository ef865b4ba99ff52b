/* Which entries a restore of some tables means, on real archives; the database with `orders` dropped is real too. */
#include "shop_fixture.h"

#include "common/archive/ddl.h"
#include "common/archive/select.h"
#include "common/archive/sql_text.h"

static ArchiveSelection choose(const Shop *shop, const char *pattern) {
  ArchiveSelection selection = {0};
  Error err;
  if (archive_select(shop->index, &pattern, 1, &selection, &err) != STATUS_OK)
    fail_msg("%s: %s", pattern, err.message);
  return selection;
}

/* "CLASS desc schema.tag" for every entry of a class, a line each, in the order of the TOC. */
static char *listed(const Shop *shop, const bool *take, const ArchiveSelection *selection, ArchiveEntryClass class) {
  Buffer out = {0};
  for (size_t i = 0; i < shop->toc->entry_count; i++) {
    if (take ? !take[i] : selection->classes[i] != class)
      continue;
    CLEANUP_FREE char *identity = archive_entry_identity(&shop->toc->entries[i]);
    buffer_append_format(&out, "%s\n", identity);
  }
  return buffer_steal_text(&out);
}

/* The lines of `list` are exactly those given, in any order. */
static void check_list(const char *list, const char *const *lines, size_t count) {
  size_t found = 0;
  for (size_t i = 0; i < count; i++) {
    CLEANUP_FREE char *line = memory_format("\n%s\n", lines[i]), *whole = memory_format("\n%s", list);
    if (!strstr(whole, line))
      fail_msg("%s is not in:\n%s", lines[i], list);
    for (const char *at = whole; (at = strstr(at, line)); at++)
      found++;
  }
  size_t all = 0;
  for (const char *at = list; *at; at++)
    all += *at == '\n';
  all -= strstr(list, "tab.le\ntwo") != NULL;
  if (all != found)
    fail_msg("%zu entries instead of %zu:\n%s", all, found, list);
}

static const char *const ORDERS[] = {"TABLE public.orders",
                                     "COMMENT public.TABLE orders",
                                     "COMMENT public.COLUMN orders.note",
                                     "COMMENT public.CONSTRAINT positive ON orders",
                                     "ACL public.TABLE orders",
                                     "ACL public.COLUMN orders.note",
                                     "ACL public.COLUMN orders.amount",
                                     "SEQUENCE public.orders_id_seq",
                                     "TABLE DATA public.orders",
                                     "SEQUENCE SET public.orders_id_seq",
                                     "CONSTRAINT public.orders orders_customer_made_key",
                                     "CONSTRAINT public.orders orders_pkey",
                                     "INDEX public.orders_note",
                                     "COMMENT public.INDEX orders_note",
                                     "STATISTICS public.orders_stats",
                                     "RULE public.orders keep",
                                     "TRIGGER public.orders stamp on update",
                                     "COMMENT public.TRIGGER \"stamp on update\" ON orders",
                                     "FK CONSTRAINT public.orders orders_customer_fkey",
                                     "COMMENT public.CONSTRAINT orders_customer_fkey ON orders",
                                     "FK CONSTRAINT public.orders orders_last_payment_fkey",
                                     "ROW SECURITY public.orders",
                                     "POLICY public.orders own",
                                     "PUBLICATION TABLE public.news orders"};

static void test_table(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    CLEANUP(archive_selection_release) ArchiveSelection selection = choose(&shop, "orders");
    CLEANUP_FREE char *chosen = listed(&shop, NULL, &selection, ENTRY_CHOSEN);
    check_list(chosen, ORDERS, ARRAY_SIZE(ORDERS));
    static const char *const dependents[] = {"FUNCTION public.newest()",
                                             "FUNCTION public.total(bigint)",
                                             "VIEW public.big",
                                             "VIEW public.bigger",
                                             "ACL public.TABLE bigger",
                                             "MATERIALIZED VIEW public.per_customer",
                                             "INDEX public.per_customer_key",
                                             "MATERIALIZED VIEW DATA public.per_customer",
                                             "FK CONSTRAINT public.payments payments_order_fkey",
                                             "FK CONSTRAINT public.orders x y"};
    /* BEGIN ATOMIC came with 14: before, nobody knew that total() reads the table; it does not exist there. */
    bool old = i == 0;
    const char *those[ARRAY_SIZE(dependents)];
    size_t count = 0;
    for (size_t d = 0; d < ARRAY_SIZE(dependents); d++)
      if (!old || !strstr(dependents[d], "total"))
        those[count++] = dependents[d];
    CLEANUP_FREE char *dependent = listed(&shop, NULL, &selection, ENTRY_DEPENDENT);
    check_list(dependent, those, count);
    CLEANUP_FREE char *needed = listed(&shop, NULL, &selection, ENTRY_NEEDED);
    static const char *const some[] = {"FUNCTION public.tax(numeric)\n",
                                       "FUNCTION public.stamp()\n",
                                       "TYPE \"Odd \"\"Schema\".pair, (\n",
                                       "SCHEMA Odd \"Schema\n",
                                       "TABLE public.customers\n",
                                       "TABLE DATA public.customers\n",
                                       "SEQUENCE OWNED BY public.customers_id_seq\n",
                                       "CONSTRAINT public.customers customers_pkey\n",
                                       "EXTENSION citext\n",
                                       "DOMAIN public.percent\n",
                                       "SEQUENCE public.ticket\n",
                                       "SEQUENCE SET public.ticket\n",
                                       "TABLE public.payments\n",
                                       "PUBLICATION news\n"};
    for (size_t n = 0; n < ARRAY_SIZE(some); n++)
      if (!strstr(needed, some[n]))
        fail_msg("not needed: %s of\n%s", some[n], needed);
    assert_null(strstr(needed, "tax(numeric, text)"));
    assert_null(strstr(needed, "TABLE public.orders x"));
    assert_int_equal(selection.relation_count, 2); /* with its sequence */
  }
}

/* Of one name a prefix of the other's: "orders" and "orders x". */
static void test_names_with_blanks(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    CLEANUP(archive_selection_release) ArchiveSelection selection = choose(&shop, "\"orders x\"");
    CLEANUP_FREE char *chosen = listed(&shop, NULL, &selection, ENTRY_CHOSEN);
    static const char *const lines[] = {"TABLE public.orders x", "TABLE DATA public.orders x",
                                        "CONSTRAINT public.orders x orders x_pkey", "FK CONSTRAINT public.orders x y"};
    check_list(chosen, lines, ARRAY_SIZE(lines));
  }
}

static void test_partitions(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    CLEANUP(archive_selection_release)
    ArchiveSelection all = choose(&shop, "events"), one = choose(&shop, "audit.events_rest");
    static const char *const names[] = {"events", "events_2026", "events_2026_0", "events_rest"};
    for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
      long table = shop_find(&shop, "TABLE", "audit", names[n]);
      assert_int_equal(all.classes[table], ENTRY_CHOSEN);
      if (n == 0)
        continue;
      long parent = shop_find(&shop, "TABLE", "audit", n == 2 ? "events_2026" : "events");
      assert_int_equal(archive_index_partition_of(shop.index, table), parent);
      CLEANUP_FREE char *key = memory_format("%s %s_pkey", names[n], names[n]);
      CLEANUP_FREE char *attach = memory_format("%s_pkey", names[n]);
      assert_int_equal(all.classes[shop_find(&shop, "CONSTRAINT", "audit", key)], ENTRY_CHOSEN);
      assert_int_equal(all.classes[shop_find(&shop, "INDEX ATTACH", "audit", attach)], ENTRY_CHOSEN);
    }
    assert_int_equal(all.relation_count, 4);
    assert_int_equal(one.relation_count, 1);
    assert_int_equal(one.classes[shop_find(&shop, "TABLE", "audit", "events")], ENTRY_NEEDED);
    assert_int_equal(one.classes[shop_find(&shop, "INDEX ATTACH", "audit", "events_rest_what_idx")], ENTRY_CHOSEN);
    assert_int_equal(one.classes[shop_find(&shop, "TABLE DATA", "audit", "events_rest")], ENTRY_CHOSEN);
    assert_int_equal(one.classes[shop_find(&shop, "TABLE", "audit", "events_2026")], ENTRY_LEFT);
  }
}

static void test_other_kinds(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15-shop.dump");
  CLEANUP(archive_selection_release)
  ArchiveSelection person = choose(&shop, "person"), worker = choose(&shop, "worker"), ticket = choose(&shop, "ticket"),
                   view = choose(&shop, "big"), circle = choose(&shop, "circle_a"), typed = choose(&shop, "typed"),
                   feed = choose(&shop, "feed");
  long person_table = shop_find(&shop, "TABLE", "public", "person"),
       worker_table = shop_find(&shop, "TABLE", "public", "worker"),
       worker_data = shop_find(&shop, "TABLE DATA", "public", "worker");
  /* DROP TABLE person CASCADE takes the table that inherits from it, rows and all */
  assert_int_equal(person.classes[worker_table], ENTRY_DEPENDENT);
  assert_int_equal(person.classes[worker_data], ENTRY_DEPENDENT);
  assert_int_equal(worker.classes[person_table], ENTRY_NEEDED);
  /* ... but of a table that takes numbers from a sequence it takes the default only */
  assert_int_equal(ticket.classes[shop_find(&shop, "TABLE", "public", "customers")], ENTRY_LEFT);
  assert_int_equal(ticket.classes[shop_find(&shop, "SEQUENCE SET", "public", "ticket")], ENTRY_CHOSEN);
  assert_int_equal(view.classes[shop_find(&shop, "TABLE", "public", "orders")], ENTRY_NEEDED);
  assert_int_equal(view.classes[shop_find(&shop, "VIEW", "public", "bigger")], ENTRY_DEPENDENT);
  assert_int_equal(circle.classes[shop_find(&shop, "RULE", "public", "circle_a _RETURN")], ENTRY_CHOSEN);
  assert_int_equal(circle.classes[shop_find(&shop, "VIEW", "public", "circle_b")], ENTRY_DEPENDENT);
  assert_int_equal(typed.classes[shop_find(&shop, "TYPE", ODD, "pair, (")], ENTRY_NEEDED);
  assert_int_equal(feed.classes[shop_find(&shop, "SERVER", "", "files")], ENTRY_NEEDED);
  assert_int_equal(feed.classes[shop_find(&shop, "EXTENSION", "", "file_fdw")], ENTRY_NEEDED);
}

static void test_several_patterns(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg17-shop.dump");
  static const char *const patterns[] = {"audit.*", "\"Odd \"\"Schema\".*", "Order?"};
  ArchiveSelection selection = {0};
  Error err;
  assert_int_equal(archive_select(shop.index, patterns, 2, &selection, &err), STATUS_OK);
  assert_int_equal(selection.relation_count, 6 + 3);
  for (size_t i = 0; i < selection.relation_count; i++)
    assert_true(archive_index_relation(shop.index, shop.toc->entries[selection.relations[i]].schema,
                                       shop.toc->entries[selection.relations[i]].tag) == selection.relations[i]);
  archive_selection_release(&selection);
  assert_int_equal(archive_select(shop.index, patterns + 2, 1, &selection, &err), STATUS_OK);
  assert_string_equal(shop.toc->entries[selection.relations[0]].tag, "orders");
  archive_selection_release(&selection);
}

static void refused(const Shop *shop, const char *pattern, Status wanted, const char *message, const char *remedy) {
  ArchiveSelection selection = {0};
  Error err = {0};
  assert_int_equal(archive_select(shop->index, &pattern, 1, &selection, &err), wanted);
  if (!strstr(err.message, message) || !strstr(err.remedy, remedy))
    fail_msg("%s: %s / %s", pattern, err.message, err.remedy);
  assert_null(selection.classes);
}

static void test_refusals(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15-shop.dump");
  refused(&shop, "ordres", ERR_NOT_FOUND, "no table, view or sequence ordres", "nearest it has: public.orders.");
  refused(&shop, "Capital", ERR_NOT_FOUND, "Capital", "nearest it has: public.\"Capital\".");
  refused(&shop, "audti.events", ERR_NOT_FOUND, "audti.events", "nearest it has: audit.events.");
  refused(&shop, "public.events", ERR_NOT_FOUND, "public.events", "Nothing in the checkpoint has a name like it");
  refused(&shop, "nothing_like_this", ERR_NOT_FOUND, "nothing_like_this", "Nothing in the checkpoint");
  refused(&shop, "zz*", ERR_NOT_FOUND, "zz*", "");
  refused(&shop, "both", ERR_INVALID_ARGUMENT, "\"Odd \"\"Schema\".\"both\", audit.\"both\"", "Name the schema");
  refused(&shop, "", ERR_INVALID_ARGUMENT, "a name is missing", "psql");
  refused(&shop, "\"orders", ERR_INVALID_ARGUMENT, "not closed", "psql");
  refused(&shop, "shop.public.orders", ERR_INVALID_ARGUMENT, "more than schema and name", "psql");
  refused(&shop, "public.", ERR_INVALID_ARGUMENT, "missing", "psql");
  refused(&shop, ".orders", ERR_INVALID_ARGUMENT, "missing", "psql");
  refused(&shop, "\"\"", ERR_INVALID_ARGUMENT, "empty", "psql");
  refused(&shop, "\"or\nders\"", ERR_NOT_FOUND, "sequence \"or?ders\"", "");
  refused(&shop, "U&\"tab.le\\000Btwo\"", ERR_NOT_FOUND, "U&\"tab.le\\000Btwo\"", "U&\"tab.le\\000Atwo\".");
  refused(&shop, "U&\"a\\0000\"", ERR_INVALID_ARGUMENT, "U&", "psql");
  refused(&shop, "U&\"a\\00\"", ERR_INVALID_ARGUMENT, "U&", "psql");
  refused(&shop, "U&\"a\\D83D\"", ERR_INVALID_ARGUMENT, "U&", "psql");
  refused(&shop, "U&\"a\"b", ERR_INVALID_ARGUMENT, "U&", "psql");
  refused(&shop, "U&\"\"", ERR_INVALID_ARGUMENT, "U&", "psql");
  refused(&shop, "U&\"a", ERR_INVALID_ARGUMENT, "U&", "psql");
  refused(&shop, "or\nders", ERR_INVALID_ARGUMENT, "control character", "psql");
  CLEANUP_FREE char *huge = memory_alloc(ARCHIVE_PATTERN_LIMIT + 2);
  memset(huge, 'a', ARCHIVE_PATTERN_LIMIT + 1);
  refused(&shop, huge, ERR_INVALID_ARGUMENT, "longer than", "");
  ArchiveSelection selection = {0};
  Error err;
  assert_int_equal(archive_select(shop.index, NULL, 0, &selection, &err), ERR_INVALID_ARGUMENT);
  /* found without a schema: public before others, and the one that has it */
  CLEANUP(archive_selection_release)
  ArchiveSelection twin = choose(&shop, "twin"), only = choose(&shop, "only_here"),
                   odd = choose(&shop, "\"tab.le\ntwo\""), same = choose(&shop, "u&\"t\\0061b.le\\+00000Atwo\"");
  assert_string_equal(shop.toc->entries[twin.relations[0]].schema, "public");
  assert_int_equal(twin.relation_count, 1);
  assert_string_equal(shop.toc->entries[only.relations[0]].schema, ODD);
  assert_string_equal(shop.toc->entries[odd.relations[0]].tag, "tab.le\ntwo");
  assert_int_equal(same.relations[0], odd.relations[0]);
}

static bool pattern_matches(const char *pattern, const char *name) {
  ArchivePattern parsed = {0};
  Error err;
  assert_int_equal(archive_pattern_parse(pattern, &parsed, &err), STATUS_OK);
  bool matches = archive_pattern_part_matches(&parsed.name, name);
  archive_pattern_release(&parsed);
  return matches;
}

static void test_patterns(void **state) {
  (void)state;
  static const struct {
    const char *pattern, *name;
    bool matches;
  } cases[] = {{"a*c", "abbc", true},
               {"a*c", "ac", true},
               {"a*c", "acd", false},
               {"*", "", true},
               {"a?c", "abc", true},
               {"a?c", "ac", false},
               {"a?c",
                "a\xc3\xbc"
                "c",
                true},
               {"a??c",
                "a\xc3\xbc"
                "c",
                false},
               {"\"a*c\"", "a*c", true},
               {"\"a*c\"", "abc", false},
               {"\"a?\"*", "a?bcd", true},
               {"ABC", "abc", true},
               {"\"ABC\"", "abc", false},
               {"\"A\"b\"C\"", "AbC", true},
               {"a\"\"\"\"b", "a\"b", true},
               {"*a*b*", "xxaxxbxx", true},
               {"*a*b*", "xxbxxaxx", false},
               {"a.b*", "bc", true},
               {"[ab]", "a", false},
               {"\\*", "\\x", true}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    if (pattern_matches(cases[i].pattern, cases[i].name) != cases[i].matches)
      fail_msg("%s and %s", cases[i].pattern, cases[i].name);
  assert_int_equal(archive_name_distance("orders", "ORDRES", 9), 2);
  assert_int_equal(archive_name_distance("orders", "orders", 9), 0);
  assert_int_equal(archive_name_distance("orders", "payments", 3), 3);
}

static char *left_out(const Shop *shop, const ArchiveResolution *resolution) {
  Buffer out = {0};
  for (size_t i = 0; i < resolution->left_out_count; i++) {
    CLEANUP_FREE char *identity = archive_entry_identity(&shop->toc->entries[resolution->left_out[i].entry]);
    buffer_append_format(&out, "%s %s\n", identity, resolution->left_out[i].why);
  }
  return buffer_steal_text(&out);
}

/* DROP TABLE orders CASCADE, and the trigger's function dropped: exactly what went comes back. */
static void test_resolve(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]), live = shop_load(SHOPS_DROPPED[i]);
    CLEANUP(archive_selection_release) ArchiveSelection selection = choose(&shop, "orders");
    CLEANUP(archive_resolution_release) ArchiveResolution resolution = {0};
    archive_resolve(shop.index, &selection, live.index, &resolution);
    static const char *const back[] = {"FUNCTION public.stamp()",
                                       "FUNCTION public.newest()",
                                       "VIEW public.big",
                                       "VIEW public.bigger",
                                       "ACL public.TABLE bigger",
                                       "MATERIALIZED VIEW public.per_customer",
                                       "INDEX public.per_customer_key",
                                       "MATERIALIZED VIEW DATA public.per_customer",
                                       "FK CONSTRAINT public.payments payments_order_fkey",
                                       "FK CONSTRAINT public.orders x y",
                                       "FUNCTION public.total(bigint)"};
    const char *lines[ARRAY_SIZE(back) + ARRAY_SIZE(ORDERS)];
    size_t count = ARRAY_SIZE(back) - (i == 0);
    memcpy(lines, back, count * sizeof *back);
    memcpy(lines + count, ORDERS, sizeof ORDERS);
    CLEANUP_FREE char *taken = listed(&shop, resolution.take, NULL, 0);
    check_list(taken, lines, count + ARRAY_SIZE(ORDERS));
    assert_int_equal(resolution.left_out_count, 0);
    /* The same entries, as TOCs of the two have them: all that the database lacks is there again. */
    for (size_t e = 0; e < shop.toc->entry_count; e++) {
      const ArchiveEntry *entry = &shop.toc->entries[e];
      if (!archive_is_data(entry) &&
          archive_index_find(live.index, entry->desc, entry->schema, entry->tag) == ARCHIVE_NO_ENTRY)
        assert_true(resolution.take[e]);
    }
  }
}

static void test_resolve_other_cases(void **state) {
  (void)state;
  CLEANUP(shop_release)
  Shop shop = shop_load("pg15-shop.dump"), live = shop_load("pg15-shop-dropped.dump"),
       damaged = shop_load("pg15-shop-damaged.dump");
  /* nothing is there: needed tables come with their rows; a view whose table is neither is left out */
  CLEANUP(archive_selection_release) ArchiveSelection payments = choose(&shop, "payments");
  CLEANUP(archive_resolution_release) ArchiveResolution empty = {0}, here = {0}, there = {0};
  archive_resolve(shop.index, &payments, NULL, &empty);
  CLEANUP_FREE char *taken = listed(&shop, empty.take, NULL, 0), *left = left_out(&shop, &empty);
  assert_non_null(strstr(taken, "TABLE DATA public.orders\n"));
  assert_non_null(strstr(taken, "TABLE DATA public.customers\n"));
  assert_non_null(strstr(taken, "SCHEMA Odd \"Schema\n"));
  assert_null(strstr(taken, "PUBLICATION"));
  assert_non_null(strstr(left, "PUBLICATION TABLE public.news orders needs PUBLICATION news, which is missing too"));
  /* payments exists, orders is gone: it is needed, for a foreign key of payments */
  archive_resolve(shop.index, &payments, live.index, &here);
  assert_true(here.take[shop_find(&shop, "TABLE", "public", "orders")]);
  assert_false(here.take[shop_find(&shop, "TABLE", "public", "customers")]);
  assert_false(here.take[shop_find(&shop, "CONSTRAINT", "public", "customers customers_pkey")]);
  /* the table is gone, and much else that is none of its business */
  archive_resolve(shop.index, &payments, damaged.index, &there);
  CLEANUP_FREE char *only = listed(&shop, there.take, NULL, 0);
  static const char *const lines[] = {"TABLE public.payments",
                                      "SEQUENCE public.payments_id_seq",
                                      "SEQUENCE OWNED BY public.payments_id_seq",
                                      "DEFAULT public.payments id",
                                      "TABLE DATA public.payments",
                                      "SEQUENCE SET public.payments_id_seq",
                                      "CONSTRAINT public.payments payments_pkey",
                                      "FK CONSTRAINT public.payments payments_order_fkey",
                                      "FK CONSTRAINT public.orders orders_last_payment_fkey"};
  check_list(only, lines, ARRAY_SIZE(lines));
}

/* A dependent that needs something else that is missing is left out, and it is said why. */
static void test_resolve_leaves_out(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15-shop.dump"), live = shop_load("pg15-shop-dropped.dump");
  CLEANUP(archive_selection_release) ArchiveSelection customers = choose(&shop, "customers");
  CLEANUP(archive_resolution_release) ArchiveResolution resolution = {0};
  archive_resolve(shop.index, &customers, live.index, &resolution);
  CLEANUP_FREE char *left = left_out(&shop, &resolution);
  assert_non_null(strstr(left, "VIEW public.bigger needs VIEW public.big, which is missing too"));
  assert_non_null(strstr(left, "FK CONSTRAINT public.orders orders_customer_fkey needs TABLE public.orders"));
  assert_false(resolution.take[shop_find(&shop, "VIEW", "public", "bigger")]);
}

static void test_order(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop shop = shop_load("pg15-shop.dump");
  CLEANUP(archive_selection_release) ArchiveSelection selection = choose(&shop, "orders");
  CLEANUP(archive_resolution_release) ArchiveResolution resolution = {0};
  archive_resolve(shop.index, &selection, NULL, &resolution);
  CLEANUP_FREE long *order = NULL;
  size_t count = archive_restore_order(shop.index, resolution.take, &order), taken = 0;
  for (size_t i = 0; i < shop.toc->entry_count; i++)
    taken += resolution.take[i];
  assert_int_equal(count, taken);
  size_t acl = 0, refresh = 0, last = 0;
  for (size_t i = 0; i < count; i++) {
    const char *desc = shop.toc->entries[order[i]].desc;
    acl = strcmp(desc, "ACL") == 0 && !acl ? i : acl;
    refresh = strcmp(desc, "MATERIALIZED VIEW DATA") == 0 ? i : refresh;
    last = strcmp(desc, "POLICY") == 0 ? i : last;
    for (size_t j = 0; j < i; j++) /* what an entry depends on is before it */
      for (size_t d = 0; d < shop.toc->entries[order[j]].dependency_count; d++)
        if (strcmp(desc, "MATERIALIZED VIEW DATA") != 0)
          assert_int_not_equal(shop.toc->entries[order[j]].dependencies[d], shop.toc->entries[order[i]].dump_id);
  }
  assert_true(last < acl && acl < refresh && refresh == count - 1);
  CLEANUP_FREE char *list = archive_restore_list(shop.toc, resolution.take);
  size_t lines = 0;
  for (const char *at = list; *at; at++)
    lines += *at == '\n';
  assert_int_equal(lines, count);
}

static size_t place_of(const long *order, size_t count, long entry) {
  size_t at = 0;
  while (at < count && order[at] != entry)
    at++;
  return at;
}

/* A partition whose parent is there: its indexes are made before it is attached, since being attached makes them; 13
 * attaches it where it is made, so that they are left to that. */
static void test_attach_to_living(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    CLEANUP(archive_selection_release)
    ArchiveSelection one = choose(&shop, "events_rest"), all = choose(&shop, "events");
    CLEANUP(archive_resolution_release) ArchiveResolution alone = {0}, together = {0};
    archive_resolve(shop.index, &one, shop.index, &alone);
    archive_resolve(shop.index, &all, shop.index, &together);
    CLEANUP_FREE long *order = NULL, *usual = NULL;
    size_t count = archive_restore_order(shop.index, alone.take, &order);
    size_t usual_count = archive_restore_order(shop.index, together.take, &usual);
    long key = shop_find(&shop, "CONSTRAINT", "audit", "events_rest events_rest_pkey"),
         what = shop_find(&shop, "INDEX", "audit", "events_rest_what_idx"),
         join = shop_find(&shop, "INDEX ATTACH", "audit", "events_rest_pkey");
    assert_true(together.take[key] && together.take[what] && together.take[join]);
    assert_true(alone.take[key] == (i > 0) && alone.take[what] == (i > 0) && alone.take[join] == (i > 0));
    assert_int_equal(alone.left_out_count, 0);
    if (i == 0)
      continue;
    long attach = shop_find(&shop, "TABLE ATTACH", "audit", "events_rest");
    assert_true(place_of(order, count, key) < place_of(order, count, attach));
    assert_true(place_of(order, count, what) < place_of(order, count, attach));
    assert_true(place_of(order, count, attach) < place_of(order, count, join));
    assert_true(place_of(order, count, join) < count);
    assert_true(place_of(usual, usual_count, attach) < place_of(usual, usual_count, key));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_names_with_blanks),
      cmocka_unit_test(test_partitions),
      cmocka_unit_test(test_other_kinds),
      cmocka_unit_test(test_several_patterns),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_patterns),
      cmocka_unit_test(test_resolve),
      cmocka_unit_test(test_resolve_other_cases),
      cmocka_unit_test(test_resolve_leaves_out),
      cmocka_unit_test(test_order),
      cmocka_unit_test(test_attach_to_living),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
