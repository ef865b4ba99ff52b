/*
 * The statements of an entry as pg_restore runs them, and what a table's definition says about its columns.
 * Pure; any thread. Strings that are returned or put into lists belong to the caller.
 */
#ifndef PGSEAL_COMMON_ARCHIVE_DDL_H
#define PGSEAL_COMMON_ARCHIVE_DDL_H

#include "common/archive/index.h"

typedef struct StatementList {
  char **items; /* each may hold several statements, as pg_dump wrote them: for PQexec, not for a prepared statement */
  size_t count;
} StatementList;

void statement_list_release(StatementList *list);
void statement_list_add(StatementList *list, char *sql) __attribute__((nonnull)); /* takes sql */

/* "TABLE public.orders", "CONSTRAINT public.orders orders_pkey": the same in every dump of the object. Unique but for
 * a few kinds (operators of one name, default privileges of several owners). */
char *archive_entry_identity(const ArchiveEntry *entry);

/* Once, before the others, on a connection: client_encoding and string form as the archive has them, an empty
 * search_path, no checks of function bodies, row_security off (an error instead of a filtered result). No timeouts. */
void archive_session_statements(const ArchiveToc *toc, StatementList *out);

/* Definition, storage settings (SET LOCAL default_tablespace, default_table_access_method: run them in a transaction),
 * owner. Nothing for an entry whose work is data (TABLE DATA, BLOBS) or that is a setting (ENCODING, ...). */
void archive_entry_statements(const ArchiveToc *toc, const ArchiveEntry *entry, StatementList *out);

/* "ALTER TABLE public.orders OWNER TO x;"; NULL if the entry has no owner of its own. */
char *archive_owner_statement(const ArchiveEntry *entry, const char *owner);

/* A query whose rows (one text column) are statements: run after the entry's own, they take back what default
 * privileges of the database gave the object when it was made, so that its ACL entry, or the lack of one, says all
 * there is. NULL if objects of its kind have no grants. */
char *archive_grants_query(const ArchiveEntry *entry);

typedef struct ArchiveColumn {
  char *name; /* as in the catalog, not quoted */
  char *type; /* with COLLATE: "text COLLATE pg_catalog.\"C\""; "" in a typed table */
  char *rest; /* the other clauses, in pg_dump's order: "DEFAULT 7 NOT NULL"; or "" */
  char *
      default_sql; /* the expression of DEFAULT or GENERATED; or NULL. DEFAULT entries of their own are not seen here */
  bool not_null, generated;
} ArchiveColumn;

typedef struct ArchiveTable { /* a CREATE [UNLOGGED | FOREIGN] TABLE statement taken apart */
  ArchiveColumn *columns;     /* those it lists: an inheriting table's own, a typed table's with options */
  size_t column_count;
  char **constraints; /* "CONSTRAINT positive CHECK ((a > 0))", also of NOT NULL */
  size_t constraint_count;
  char **parents;      /* pairs: schema, name of each table it INHERITS */
  size_t parent_count; /* of pairs */
  char *of_type[2];    /* schema and name of its composite type; else NULL */
  bool unlogged, foreign_table, partitioned;
  char *tail;     /* what follows the column list, up to the ';': "PARTITION BY ...", "WITH (...)"; or "" */
  char *settings; /* the statements that follow: "ALTER TABLE ... SET STATISTICS 9;\n"; or "" */
} ArchiveTable;

/* ERR_ARCHIVE_FORMAT: the entry is not a TABLE or FOREIGN TABLE, or its definition is none that pg_dump writes. */
Status archive_table_parse(const ArchiveEntry *entry, ArchiveTable *out, Error *err) MUST_CHECK;
void archive_table_release(ArchiveTable *table);

typedef struct ArchiveColumns {
  ArchiveColumn *items;
  size_t count;
} ArchiveColumns;

void archive_columns_release(ArchiveColumns *columns);

/* All columns of a table, also inherited ones (parents' first, as PostgreSQL makes them) and those of its composite
 * type. ERR_ARCHIVE_FORMAT as above, or where a parent or type is not in the TOC (an extension's, for instance). */
Status archive_table_columns(const ArchiveIndex *index, long table, ArchiveColumns *out, Error *err) MUST_CHECK;

/* The columns in the order of the TABLE DATA entry's COPY, with their types; generated ones are not among them. */
Status archive_copy_columns(const ArchiveIndex *index, long table_data, ArchiveColumns *out, Error *err) MUST_CHECK;

/* The names alone, out of "COPY s.t (a, \"b, c\") FROM stdin;". *names and each of them are freed by the caller. */
Status archive_copy_names(const ArchiveEntry *table_data, char ***names, size_t *count, Error *err) MUST_CHECK;

#endif
