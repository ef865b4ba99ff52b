/*
 * Errors: a Status that is returned, and an Error that the caller supplies.
 *
 * Conventions of the whole code base:
 *  - A function that can fail returns Status: STATUS_OK (0) or an ERR_ code, and takes an `Error *err`
 *    as its last parameter. `*err` is untouched on success. `err` may not be NULL.
 *  - A function either returns an error or logs it, never both.
 *  - Out-parameters are untouched on failure, unless the header says otherwise.
 *  - Error is a plain value: no ownership, safe to copy, to hand across threads and to drop.
 */
#ifndef PGSEAL_COMMON_BASE_ERROR_H
#define PGSEAL_COMMON_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

#include "common/base/error_codes.h"

typedef enum Status {
  STATUS_OK = 0,
#define PGSEAL_X(name, code, class, outcome, remedy) ERR_##name,
  PGSEAL_ERROR_CODES(PGSEAL_X)
#undef PGSEAL_X
      STATUS_COUNT
} Status;

typedef enum ErrorClass { ERROR_CLASS_TRANSIENT, ERROR_CLASS_PERMANENT, ERROR_CLASS_BUG } ErrorClass;

/* How a drill or checkpoint ends; "proven" is the only one without an error. */
typedef enum Outcome { OUTCOME_PROVEN, OUTCOME_FAILED, OUTCOME_ERRORED, OUTCOME_CANCELED } Outcome;

enum { ERROR_MESSAGE_SIZE = 2048, ERROR_REMEDY_SIZE = 768, ERROR_OBJECT_SIZE = 512 };

typedef struct Error {
  Status status;
  char message[ERROR_MESSAGE_SIZE]; /* one sentence or more; like the others one line of printable UTF-8 (text_show) */
  char remedy[ERROR_REMEDY_SIZE];   /* what to do about it, in plain words */
  char object[ERROR_OBJECT_SIZE];   /* the table, file, object key, ... concerned; may be empty */
} Error;

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* Fills *err with status, the code's default remedy and the formatted message (cut to fit on a UTF-8
 * boundary), clears object. Returns status, so that `return error_set(...)` is the idiom. */
Status error_set(Error *err, Status status, const char *format, ...) PRINTF_LIKE(3, 4);
Status error_set_v(Error *err, Status status, const char *format, va_list args);

/* The same with strerror(errno_value) appended; ENOSPC and EDQUOT become ERR_DISK_FULL, else ERR_IO. */
Status error_set_errno(Error *err, int errno_value, const char *format, ...) PRINTF_LIKE(3, 4);

/* Replace the remedy / the object of an error already set. */
void error_remedy(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);
void error_object(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "prefix: " before the message of an error already set; returns its status. */
Status error_prefix(Error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* The table behind the codes. Static strings; any thread. */
const char *error_code(Status status);
const char *error_default_remedy(Status status);
ErrorClass error_class(Status status);
Outcome error_outcome(Status status);
Status error_from_code(const char *code); /* STATUS_COUNT if there is no such code */

const char *outcome_name(Outcome outcome); /* "proven", "failed", ... */
bool outcome_from_name(const char *name, Outcome *outcome);

#endif
