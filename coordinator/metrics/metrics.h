/*
 * Metrics in Prometheus' text format, version 0.0.4 (https://prometheus.io/docs/instrumenting/exposition_formats/):
 * which there are is in families.h, and for people in docs/metrics.md.
 *
 * A scrape is of one moment, and is written piece by piece: of 10,000 databases it is some 15 MB, and nobody else is to
 * wait for them. Scrapes within a second share what they are of. How many series there are follows from the fleet and
 * its agents alone: no label has a value that somebody may choose with a request.
 *
 * Counters begin at 0 with the process, where nothing else is said; of several coordinators each counts what all did.
 * Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_METRICS_METRICS_H
#define PGSEAL_COORDINATOR_METRICS_METRICS_H

#include "common/base/buffer.h"
#include "coordinator/overview/overview.h"
#include "coordinator/rotation/run.h"
#include "coordinator/traces/traces.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
enum { METRICS_PIECE = 16 << 10 };

typedef struct Metrics Metrics;
/* Counts what dispatch tells from now on, and may be closed only once dispatch tells nothing any more. */
Metrics *metrics_open(Dispatch *dispatch, Ledger *ledger, Overview *overview);
void metrics_rotation(Metrics *metrics, const Rotation *rotation); /* to be shown, too */
void metrics_traces(Metrics *metrics, const Traces *traces);       /* the same */
void metrics_close(Metrics *metrics);                              /* NULL is fine; scrapes may still be open */

typedef struct MetricsScrape MetricsScrape;
Status metrics_scrape(Metrics *metrics, MetricsScrape **out, Error *err) MUST_CHECK;
/* Appends the next METRICS_PIECE bytes or so; false: nothing is left. */
bool metrics_next(MetricsScrape *scrape, Buffer *out);
void metrics_scrape_free(MetricsScrape *scrape); /* NULL is fine */

#endif
