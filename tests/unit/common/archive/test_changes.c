/* What differs between a checkpoint and the database as it is, on real archives of PostgreSQL 13, 15 and 17:
 * data/shop.sql and the same database after data/shop-damaged.sql and data/shop-dropped.sql. */
#include "shop_fixture.h"

#include "common/archive/changes.h"

static ChangeList compare(const Shop *then, const Shop *now) {
  ChangeList list = {0};
  archive_changes(then->index, now->index, &list);
  return list;
}

static const ArchiveChange *object(const ChangeList *list, const char *desc, const char *schema, const char *name) {
  for (size_t i = 0; i < list->object_count; i++) {
    const ArchiveChange *change = &list->objects[i];
    if (strcmp(change->desc, desc) == 0 && strcmp(change->schema, schema) == 0 && strcmp(change->name, name) == 0)
      return change;
  }
  return NULL;
}

static const ArchiveColumnChange *column(const ChangeList *list, const char *table, const char *name) {
  for (size_t i = 0; i < list->column_count; i++)
    if (strcmp(list->columns[i].table, table) == 0 && strcmp(list->columns[i].column, name) == 0)
      return &list->columns[i];
  return NULL;
}

/* `wanted`: the statements joined by " / ". */
static void check_statements(const StatementList *list, const char *wanted) {
  Buffer text = {0};
  for (size_t i = 0; i < list->count; i++)
    buffer_append_format(&text, "%s%s", i ? " / " : "", list->items[i]);
  CLEANUP_FREE char *is = buffer_steal_text(&text);
  assert_string_equal(is, wanted);
}

typedef struct WantedObject {
  ArchiveChangeKind kind;
  const char *desc, *schema, *name, *table, *because_of, *statements; /* statements NULL: not looked at */
} WantedObject;

static void check_object(const ChangeList *list, const WantedObject *wanted) {
  const ArchiveChange *change = object(list, wanted->desc, wanted->schema, wanted->name);
  if (!change)
    fail_msg("no change of %s %s.%s", wanted->desc, wanted->schema, wanted->name);
  assert_int_equal(change->kind, wanted->kind);
  assert_string_equal(change->table, wanted->table);
  if (!change->because_of != !wanted->because_of ||
      (change->because_of && strcmp(change->because_of, wanted->because_of) != 0))
    fail_msg("%s %s because of %s", wanted->desc, wanted->name, change->because_of);
  if (wanted->statements)
    check_statements(&change->roll_forward, wanted->statements);
}

#define ODD_SCHEMA "SCHEMA Odd \"Schema"

static void test_damaged_objects(void **state) {
  (void)state;
  static const WantedObject wanted[] = {
      {CHANGE_MISSING, "SCHEMA", "", ODD, "", NULL,
       "CREATE SCHEMA \"Odd \"\"Schema\"; / ALTER SCHEMA \"Odd \"\"Schema\" OWNER TO postgres;"},
      {CHANGE_MISSING, "TYPE", ODD, "pair, (", "", ODD_SCHEMA, NULL},
      {CHANGE_MISSING, "TABLE", ODD, "tab.le\ntwo", "", ODD_SCHEMA, NULL},
      {CHANGE_MISSING, "TABLE", "public", "typed", "", ODD_SCHEMA, NULL},
      {CHANGE_MISSING, "CHECK CONSTRAINT", "public", "positive", "orders", NULL,
       "ALTER TABLE public.orders ADD CONSTRAINT positive CHECK (((amount > (0)::numeric) AND (note <> 'x, "
       "(y'::text)));"},
      {CHANGE_CHANGED, "TABLE", "public", "orders", "", NULL,
       "ALTER TABLE ONLY public.orders ALTER COLUMN note SET STATISTICS 200;"},
      {CHANGE_CHANGED, "COMMENT", "public", "TABLE orders", "orders", NULL,
       "COMMENT ON TABLE public.orders IS 'the orders; all of them';"},
      {CHANGE_MISSING, "COMMENT", "public", "COLUMN orders.note", "orders", NULL,
       "COMMENT ON COLUMN public.orders.note IS 'a note';"},
      {CHANGE_CHANGED, "ACL", "public", "TABLE orders", "orders", NULL,
       "GRANT SELECT,INSERT ON TABLE public.orders TO \"odd clerk\";"},
      {CHANGE_CHANGED, "FUNCTION", "public", "tax(numeric, text)", "", NULL,
       "CREATE OR REPLACE FUNCTION public.tax(numeric, text) RETURNS numeric\n    LANGUAGE sql IMMUTABLE\n    AS "
       "$_$SELECT $1$_$;"},
      {CHANGE_MISSING, "PROCEDURE", "public", "tidy()", "", NULL, NULL},
      {CHANGE_CHANGED, "VIEW", "public", "bigger", "", NULL, NULL},
      {CHANGE_CHANGED, "TABLE", "public", "cache", "", NULL, "ALTER TABLE public.cache SET UNLOGGED;"},
      {CHANGE_CHANGED, "TABLE", "public", "twin", "", NULL, "ALTER TABLE public.twin OWNER TO postgres;"},
      {CHANGE_CHANGED, "TABLE", "audit", "twin", "", NULL, ""},
      {CHANGE_MISSING, "VIEW", "public", "twins", "", "audit.twin", NULL},
      {CHANGE_MISSING, "CONSTRAINT", "audit", "twin_pkey", "twin", "audit.twin", NULL},
      {CHANGE_MISSING, "TABLE", "public", "payments", "", NULL, NULL},
      {CHANGE_MISSING, "DEFAULT", "public", "id", "payments", "public.payments", NULL},
      {CHANGE_MISSING, "SEQUENCE", "public", "payments_id_seq", "payments", "public.payments", NULL},
      {CHANGE_MISSING, "FK CONSTRAINT", "public", "orders_last_payment_fkey", "orders", "public.payments", NULL},
      {CHANGE_MISSING, "FK CONSTRAINT", "public", "y", "orders x", NULL,
       "ALTER TABLE ONLY public.\"orders x\"\n    ADD CONSTRAINT y FOREIGN KEY (\"order\") REFERENCES "
       "public.orders(id) NOT VALID;"},
      {CHANGE_MISSING, "INDEX", "public", "orders_note", "orders", NULL,
       "CREATE INDEX orders_note ON public.orders USING btree (lower(note)) WHERE (amount > (1)::numeric);"},
      {CHANGE_MISSING, "INDEX", "public", "per_customer_key", "per_customer", "public.per_customer", NULL},
      {CHANGE_MISSING, "TRIGGER", "public", "stamp on update", "orders", NULL, NULL},
      {CHANGE_CHANGED, "POLICY", "public", "own", "orders", NULL,
       "DROP POLICY own ON public.orders; / CREATE POLICY own ON public.orders TO clerk, \"odd clerk\" USING ((amount "
       "< (50)::numeric));"},
      {CHANGE_MISSING, "CHECK CONSTRAINT", "public", "wage_positive", "worker", NULL,
       "ALTER TABLE public.worker ADD CONSTRAINT wage_positive CHECK ((wage > 0));"},
      {CHANGE_ADDED, "TABLE", "public", "newcomer", "", NULL, ""},
      {CHANGE_ADDED, "INDEX", "public", "newcomer_id_idx", "newcomer", NULL, ""}};
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop then = shop_load(SHOPS[i]), now = shop_load(SHOPS_DAMAGED[i]);
    CLEANUP(change_list_release) ChangeList list = compare(&then, &now);
    for (size_t w = 0; w < ARRAY_SIZE(wanted); w++)
      check_object(&list, &wanted[w]);
    assert_true(object(&list, "TABLE", "audit", "twin")->recreated);
    assert_false(object(&list, "TABLE", "public", "twin")->recreated);
    /* the detached partition: an entry of its own since 14 */
    const ArchiveChange *detached = object(&list, i == 0 ? "TABLE" : "TABLE ATTACH", "audit", "events_rest");
    assert_non_null(detached);
    check_statements(&detached->roll_forward,
                     "ALTER TABLE ONLY audit.events ATTACH PARTITION audit.events_rest DEFAULT;");
    assert_null(object(&list, "TABLE", "public", "customers")); /* its columns only */
    assert_null(object(&list, "TABLE", "public", "Capital"));   /* renamed */
  }
}

typedef struct WantedColumn {
  ArchiveColumnChangeKind kind;
  const char *table, *name, *was, *is, *statements;
} WantedColumn;

static void test_damaged_columns(void **state) {
  (void)state;
  static const WantedColumn wanted[] = {
      {COLUMN_MISSING, "customers", "share", "public.percent", NULL,
       "ALTER TABLE public.customers ADD COLUMN share public.percent;"},
      {COLUMN_RETYPED, "customers", "feeling", "public.mood DEFAULT 'it''s, (ok)'::public.mood", "text",
       "ALTER TABLE public.customers ALTER COLUMN feeling TYPE public.mood USING feeling::public.mood; / ALTER TABLE "
       "public.customers ALTER COLUMN feeling SET DEFAULT 'it''s, (ok)'::public.mood;"},
      {COLUMN_ALTERED, "customers", "name", "public.citext NOT NULL", "public.citext",
       "ALTER TABLE public.customers ALTER COLUMN name SET NOT NULL;"},
      {COLUMN_ADDED, "customers", "extra", NULL, "integer DEFAULT 7", ""},
      {COLUMN_RETYPED, "orders", "made", "timestamp(3) with time zone DEFAULT now()", "date DEFAULT now()",
       "ALTER TABLE public.orders ALTER COLUMN made DROP DEFAULT; / ALTER TABLE public.orders ALTER COLUMN made TYPE "
       "timestamp(3) with time zone USING made::timestamp(3) with time zone; / ALTER TABLE public.orders ALTER COLUMN "
       "made SET DEFAULT now();"},
      {COLUMN_MISSING, "orders", "pair", "\"Odd \"\"Schema\".\"pair, (\"", NULL,
       "ALTER TABLE public.orders ADD COLUMN pair \"Odd \"\"Schema\".\"pair, (\";"},
      {COLUMN_ALTERED, "twin", "id", "integer NOT NULL", "integer",
       "ALTER TABLE audit.twin ALTER COLUMN id SET NOT NULL;"}};
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop then = shop_load(SHOPS[i]), now = shop_load(SHOPS_DAMAGED[i]);
    CLEANUP(change_list_release) ChangeList list = compare(&then, &now);
    for (size_t w = 0; w < ARRAY_SIZE(wanted); w++) {
      const ArchiveColumnChange *change = column(&list, wanted[w].table, wanted[w].name);
      if (!change)
        fail_msg("no change of %s.%s", wanted[w].table, wanted[w].name);
      assert_int_equal(change->kind, wanted[w].kind);
      assert_true(!change->was == !wanted[w].was && !change->is == !wanted[w].is);
      if (wanted[w].was)
        assert_string_equal(change->was, wanted[w].was);
      if (wanted[w].is)
        assert_string_equal(change->is, wanted[w].is);
      check_statements(&change->roll_forward, wanted[w].statements);
    }
    assert_int_equal(list.column_count, ARRAY_SIZE(wanted) + 1); /* and orders.kind */
    assert_int_equal(list.rename_count, 2);
    for (size_t r = 0; r < 2; r++) {
      bool table = strcmp(list.renames[r].desc, "TABLE") == 0;
      assert_string_equal(list.renames[r].from, table ? "Capital" : "tickets");
      assert_string_equal(list.renames[r].to, table ? "capital_old" : "ticket_count");
      check_statements(&list.renames[r].roll_forward,
                       table ? "ALTER TABLE public.capital_old RENAME TO \"Capital\";"
                             : "ALTER TABLE public.customers RENAME COLUMN ticket_count TO tickets;");
    }
  }
}

/* Nothing differs between an archive and itself; all that CASCADE took is told to be because of the table. */
static void test_dropped(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop then = shop_load(SHOPS[i]), now = shop_load(SHOPS_DROPPED[i]);
    CLEANUP(change_list_release) ChangeList none = compare(&then, &then), list = compare(&then, &now);
    assert_int_equal(none.object_count + none.column_count + none.rename_count, 0);
    assert_int_equal(list.column_count + list.rename_count, 0);
    size_t missing = 0;
    for (size_t e = 0; e < then.toc->entry_count; e++) {
      const ArchiveEntry *entry = &then.toc->entries[e];
      missing += !archive_is_data(entry) &&
                 archive_index_find(now.index, entry->desc, entry->schema, entry->tag) == ARCHIVE_NO_ENTRY;
    }
    assert_int_equal(list.object_count, missing);
    for (size_t c = 0; c < list.object_count; c++) {
      assert_int_equal(list.objects[c].kind, CHANGE_MISSING);
      bool root = strcmp(list.objects[c].name, "orders") == 0 || strcmp(list.objects[c].name, "stamp()") == 0;
      if (root && strcmp(list.objects[c].desc, "ROW SECURITY") != 0)
        assert_null(list.objects[c].because_of);
      else
        assert_string_equal(list.objects[c].because_of, "public.orders");
    }
  }
}

/* ---- single changes, made in the text of an archive's entry ---- */

static ArchiveEntry *entry_to_change(Shop *shop, const char *desc, const char *schema, const char *tag) {
  return (ArchiveEntry *)shop_entry(shop, desc, schema, tag);
}

static void replace_text(char **text, const char *from, const char *to) {
  char *at = strstr(*text, from);
  if (!at)
    fail_msg("no %s in %s", from, *text);
  char *changed = memory_format("%.*s%s%s", (int)(at - *text), *text, to, at + strlen(from));
  free(*text);
  *text = changed;
}

static void check_column(const char *from, const char *to, const char *name, ArchiveColumnChangeKind kind,
                         const char *statements, const char *note) {
  CLEANUP(shop_release) Shop then = shop_load("pg15-shop.dump"), now = shop_load("pg15-shop.dump");
  replace_text(&entry_to_change(&now, "TABLE", "public", "orders")->defn, from, to);
  CLEANUP(change_list_release) ChangeList list = compare(&then, &now);
  assert_int_equal(list.column_count, 1);
  assert_int_equal(list.object_count + list.rename_count, 0);
  assert_string_equal(list.columns[0].column, name);
  assert_int_equal(list.columns[0].kind, kind);
  check_statements(&list.columns[0].roll_forward, statements);
  if (note)
    assert_non_null(strstr(list.columns[0].note, note));
}

static void test_columns_one_by_one(void **state) {
  (void)state;
  check_column("    customer bigint NOT NULL,\n", "", "customer", COLUMN_MISSING,
               "ALTER TABLE public.orders ADD COLUMN customer bigint;", "ALTER COLUMN customer SET NOT NULL;");
  check_column(" STORED", " STORED NOT NULL", "gross", COLUMN_ALTERED,
               "ALTER TABLE public.orders ALTER COLUMN gross DROP NOT NULL;", NULL);
  check_column(" GENERATED ALWAYS AS ((amount + public.tax(amount))) STORED", "", "gross", COLUMN_ALTERED,
               "ALTER TABLE public.orders DROP COLUMN gross; / ALTER TABLE public.orders ADD COLUMN gross numeric "
               "GENERATED ALWAYS AS ((amount + public.tax(amount))) STORED;",
               "generated");
  check_column("last_payment integer", "last_payment integer GENERATED ALWAYS AS ((1)) STORED", "last_payment",
               COLUMN_ALTERED, "ALTER TABLE public.orders ALTER COLUMN last_payment DROP EXPRESSION;", "was not");
  check_column("last_payment integer", "last_payment integer DEFAULT 3", "last_payment", COLUMN_ALTERED,
               "ALTER TABLE public.orders ALTER COLUMN last_payment DROP DEFAULT;", NULL);
  check_column("\"Odd \"\"Column, \xc3\xbc\" \"char\"", "\"Odd \"\"Column, \xc3\xbc\" text", "Odd \"Column, \xc3\xbc",
               COLUMN_RETYPED,
               "ALTER TABLE public.orders ALTER COLUMN \"Odd \"\"Column, \xc3\xbc\" TYPE \"char\" USING \"Odd "
               "\"\"Column, \xc3\xbc\"::\"char\";",
               "checkpoint");
  check_column(" COLLATE pg_catalog.\"C\"", "", "note", COLUMN_RETYPED,
               "ALTER TABLE public.orders ALTER COLUMN note DROP DEFAULT; / ALTER TABLE public.orders ALTER COLUMN "
               "note TYPE text COLLATE pg_catalog.\"C\" USING note::text; / ALTER TABLE public.orders ALTER COLUMN "
               "note SET DEFAULT 'a,b) \"c\"\n\\ ''d'' $$e'::text;",
               NULL);
}

static void test_tables_one_by_one(void **state) {
  (void)state;
  static const struct {
    const char *table, *from, *to, *statements;
  } cases[] = {{"orders", "WITH (fillfactor='70')", "WITH (fillfactor='80')",
                "ALTER TABLE public.orders SET (fillfactor='70');"},
               {"worker", "\nINHERITS (public.person)", "", "ALTER TABLE public.worker INHERIT public.person;"},
               {"person", "\n)", "\n)\nINHERITS (public.typed)", "ALTER TABLE public.person NO INHERIT public.typed;"},
               {"dates", "CREATE TABLE", "CREATE UNLOGGED TABLE", "ALTER TABLE public.dates SET LOGGED;"},
               {"dates", "CREATE TABLE", "CREATE TEMPORARY TABLE", ""}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP(shop_release) Shop then = shop_load("pg15-shop.dump"), now = shop_load("pg15-shop.dump");
    replace_text(&entry_to_change(&now, "TABLE", "public", cases[i].table)->defn, cases[i].from, cases[i].to);
    CLEANUP(change_list_release) ChangeList list = compare(&then, &now);
    assert_int_equal(list.object_count, 1);
    assert_int_equal(list.column_count + list.rename_count, 0);
    check_statements(&list.objects[0].roll_forward, cases[i].statements);
    assert_true(*cases[i].statements || list.objects[0].note);
  }
}

/* A renamed table's parts are neither missing nor added; one that changed besides is seen. Without OIDs to tell. */
static void test_renamed_table(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop then = shop_load("pg15-shop.dump"), now = shop_load("pg15-shop.dump");
  for (size_t i = 0; i < now.toc->entry_count; i++) {
    ArchiveEntry *entry = &now.toc->entries[i];
    entry->oid = 0;
    long owner = archive_index_owner(then.index, (long)i);
    if (strcmp(then.toc->entries[owner].tag, "payments") != 0)
      continue;
    if (strstr(entry->tag, "payments") && strcmp(entry->desc, "SEQUENCE") != 0)
      replace_text(&entry->tag, "payments", "bills");
    while (strstr(entry->defn, "public.payments "))
      replace_text(&entry->defn, "public.payments ", "public.bills ");
    while (strstr(entry->defn, "public.payments\n"))
      replace_text(&entry->defn, "public.payments\n", "public.bills\n");
  }
  archive_index_free(now.index);
  now.index = archive_index_new(now.toc);
  CLEANUP(change_list_release) ChangeList list = compare(&then, &now);
  assert_int_equal(list.rename_count, 1);
  assert_string_equal(list.renames[0].from, "payments");
  assert_string_equal(list.renames[0].to, "bills");
  assert_int_equal(list.column_count, 0);
  for (size_t i = 0; i < list.object_count; i++) /* what names the table: told to be because of it */
    if (!list.objects[i].because_of || strcmp(list.objects[i].because_of, "public.payments") != 0)
      if (!strstr(list.objects[i].name, "payments_"))
        fail_msg("%s %s", list.objects[i].desc, list.objects[i].name);
  assert_null(object(&list, "TABLE", "public", "payments"));
  assert_null(object(&list, "FK CONSTRAINT", "public", "payments_order_fkey"));
  assert_null(object(&list, "DEFAULT", "public", "id"));
  change_list_release(&list);
  replace_text(&entry_to_change(&now, "FK CONSTRAINT", "public", "bills payments_order_fkey")->defn,
               " ON DELETE CASCADE", "");
  list = compare(&then, &now);
  assert_int_equal(object(&list, "FK CONSTRAINT", "public", "payments_order_fkey")->kind, CHANGE_CHANGED);
}

/* Operators of one name are paired with what they are, not with what stands first. */
static void test_same_names(void **state) {
  (void)state;
  CLEANUP(shop_release) Shop then = shop_load("pg15-shop.dump"), now = shop_load("pg15-shop.dump");
  long first = shop_find(&now, "OPERATOR", "public", "==="), second = first + 1;
  ArchiveEntry *a = &now.toc->entries[first], *b = &now.toc->entries[second], swap = *a;
  assert_string_equal(b->tag, "===");
  *a = *b;
  *b = swap;
  CLEANUP(change_list_release) ChangeList same = compare(&then, &now);
  assert_int_equal(same.object_count, 0);
  free(a->defn);
  a->defn = memory_strdup("CREATE OPERATOR public.=== (\n    FUNCTION = other\n);\n");
  CLEANUP(change_list_release) ChangeList list = compare(&then, &now);
  assert_int_equal(list.object_count, 1);
  assert_int_equal(list.objects[0].then, second);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_damaged_objects),   cmocka_unit_test(test_damaged_columns),
      cmocka_unit_test(test_dropped),           cmocka_unit_test(test_columns_one_by_one),
      cmocka_unit_test(test_tables_one_by_one), cmocka_unit_test(test_renamed_table),
      cmocka_unit_test(test_same_names),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
