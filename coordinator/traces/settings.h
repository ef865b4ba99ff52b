/*
 * What coordinator.yaml says of traces (`traces:`). Owned by the CoordinatorConfig, read-only after load. Headers for
 * the receiver may be secret: they are in a file that is only named here, read whenever something is sent, never kept.
 */
#ifndef PGSEAL_COORDINATOR_TRACES_SETTINGS_H
#define PGSEAL_COORDINATOR_TRACES_SETTINGS_H

#include <stddef.h>

#include "common/base/error.h"
#include "coordinator/settings_from.h"

enum { TRACE_HEADERS = 8 };

typedef struct TraceSettings {
  const char *endpoint;     /* with its path, .../v1/traces; NULL: nothing is sent */
  const char *headers_file; /* a path, or NULL */
  const char *ca_file;      /* whom it trusts; NULL: the system's */
  const char *service_name; /* default "pgseal" */
} TraceSettings;

struct RawTraces; /* config_schema.h */
/* raw NULL: none. ERR_CONFIG. */
Status trace_settings_take(const SettingsFrom *from, const struct RawTraces *raw, TraceSettings *out,
                           Error *err) MUST_CHECK;
/* Can the files be read, and is in them what can be used? */
Status trace_settings_check(const TraceSettings *settings, Error *err) MUST_CHECK;

/* "Name: value" each, new; freed by trace_headers_release. ERR_CONFIG: the file cannot be read, others may read it, or
 * it has something else; nothing of what is in it is told. */
typedef struct TraceHeaders {
  char *items[TRACE_HEADERS];
  size_t count;
} TraceHeaders;
Status trace_settings_headers(const TraceSettings *settings, TraceHeaders *out, Error *err) MUST_CHECK;
void trace_headers_release(TraceHeaders *headers); /* wipes them */

#endif
