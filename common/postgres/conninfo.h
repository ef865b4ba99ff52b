/* The inside of Conninfo, for common/postgres only. */
#ifndef PGSEAL_COMMON_POSTGRES_CONNINFO_H
#define PGSEAL_COMMON_POSTGRES_CONNINFO_H

#include "common/postgres/connection.h"

typedef struct ConninfoItem {
  char *key, *variable, *value; /* variable and value may be NULL */
  bool secret;
} ConninfoItem;

struct Conninfo {
  ConninfoItem *items; /* every option this libpq knows */
  size_t count;
};

/* The conninfo's own `options` and then the pinned ones; freed by the caller. */
char *conninfo_pinned_options(const Conninfo *conninfo);

#endif
