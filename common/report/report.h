/*
 * The report for the auditor: what the ledger says of a period, one signed JSON document (docs/reports.md). The
 * coordinator makes it, anybody checks it: without the coordinator, with its public key.
 *
 *   {"report": {...}, "signature": {"algorithm", "public_key", "signature"} or null}
 *
 * The signature is Ed25519 as of manifests and proofs, with purpose "report", over the canonical bytes of "report":
 * keys sorted, compact, UTF-8. There are no fractions in it: whoever writes them anew writes the same bytes.
 *
 * Rows are facts; "totals" and what a database's row adds up follow from them, by report_totals and report_check alone.
 * Pure; any thread. Times are microseconds since 1970-01-01 UTC.
 */
#ifndef PGSEAL_COMMON_REPORT_REPORT_H
#define PGSEAL_COMMON_REPORT_REPORT_H

#include <jansson.h>

#include "common/crypto/signing.h"

#define REPORT_PURPOSE "report"
enum { REPORT_VERSION = 1, REPORT_FILE_LIMIT = 64 << 20, REPORT_DAYS_LIMIT = 3660 };

/* ---- periods: from (inclusive) to (exclusive) ---- */

/* "2026-10-01" (its midnight, UTC) or "2026-10-01T12:00:00Z", with or without a fraction. ERR_INVALID_ARGUMENT. */
Status report_time_parse(const char *text, int64_t *wall_us, Error *err) MUST_CHECK;
/* "2026-10": from its first midnight to the next month's, UTC. ERR_INVALID_ARGUMENT. */
Status report_month_parse(const char *text, int64_t *from_us, int64_t *to_us, Error *err) MUST_CHECK;
/* "2026-Q4": a quarter of the calendar's year. "2026-W45": an ISO week, from its Monday. The same. */
Status report_quarter_parse(const char *text, int64_t *from_us, int64_t *to_us, Error *err) MUST_CHECK;
Status report_week_parse(const char *text, int64_t *from_us, int64_t *to_us, Error *err) MUST_CHECK;

typedef enum ReportPeriod { REPORT_WEEK, REPORT_MONTH, REPORT_QUARTER, REPORT_PERIODS } ReportPeriod;
const char *report_period_name(ReportPeriod period); /* "week", "month", "quarter" */
/* The last of them that was over when the UTC day began that at_us is in. */
void report_period_before(ReportPeriod period, int64_t at_us, int64_t *from_us, int64_t *to_us);
/* "2026-10", "2026-Q4", "2026-W45", if it is just that; freed by the caller; NULL: it is none of them. */
char *report_period_text(int64_t from_us, int64_t to_us);
/* Is it one? Not empty, not longer than REPORT_DAYS_LIMIT, begun by now_us. ERR_INVALID_ARGUMENT. */
Status report_period_check(int64_t from_us, int64_t to_us, int64_t now_us, Error *err) MUST_CHECK;

/* ---- how good a database's proof is at the end of the period ---- */

typedef enum ReportCoverage {
  REPORT_FRESH,        /* its proof is not older than its objective */
  REPORT_STALE,        /* it is */
  REPORT_NO_OBJECTIVE, /* there is a proof, and nothing says how old it may be */
  REPORT_UNPROVEN,     /* there is none */
  REPORT_COVERAGES
} ReportCoverage;
const char *report_coverage_name(ReportCoverage coverage); /* "fresh", "stale", "no_objective", "unproven" */
/* age_us < 0: there is no proof. objective_seconds 0: none. */
ReportCoverage report_coverage(int64_t age_us, int64_t objective_seconds);

/* The line of a proven drill that a database's "proven_sha256" is over. Freed by the caller. */
char *report_proof_line(const char *drill, const char *checkpoint, const char *manifest_sha256,
                        const char *proof_sha256 /* NULL: not known */);

/* ---- documents ---- */

json_t *report_totals(const json_t *report); /* new reference */
/* Do its numbers follow from its rows? Hostile input. ERR_PROOF_INVALID says which does not. */
Status report_check(const json_t *report, Error *err) MUST_CHECK;

/* The document's text, newline-terminated, freed by the caller. signer NULL: it is not signed. */
Status report_write(json_t *report, const SigningKey *signer, char **text, Error *err) MUST_CHECK;

typedef struct ReportFile {
  json_t *report, *signature; /* owned; signature is null if it is not signed */
  bool named;                 /* key holds the one that the signature names */
  uint8_t key[PUBLIC_KEY_SIZE];
} ReportFile;
/* Hostile input; nothing is checked but the form. ERR_PROOF_INVALID. */
Status report_read(const char *text, size_t size, ReportFile *out, Error *err) MUST_CHECK;
void report_file_release(ReportFile *file);
/* Is it signed by that key? ERR_PROOF_INVALID. */
Status report_verify(const ReportFile *file, const uint8_t public_key[PUBLIC_KEY_SIZE], Error *err) MUST_CHECK;

#endif
