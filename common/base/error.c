#include "common/base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"

typedef struct ErrorRow {
  const char *code;
  ErrorClass class;
  Outcome outcome;
  const char *remedy;
} ErrorRow;

static const ErrorRow error_table[STATUS_COUNT] = {[STATUS_OK] = {"ok", ERROR_CLASS_PERMANENT, OUTCOME_PROVEN, ""},
#define PGSEAL_X(name, code, class, outcome, remedy)                                                                   \
  [ERR_##name] = {code, ERROR_CLASS_##class, OUTCOME_##outcome, remedy},
                                                   PGSEAL_ERROR_CODES(PGSEAL_X)
#undef PGSEAL_X
};

static const char *const outcome_names[] = {[OUTCOME_PROVEN] = "proven",
                                            [OUTCOME_FAILED] = "failed",
                                            [OUTCOME_ERRORED] = "errored",
                                            [OUTCOME_CANCELED] = "canceled"};

/* Tools' and servers' messages end up here, with names of whoever made a table: none of it begins a line of its own
 * where it is read, or steers a terminal. */
static void error_copy(char *out, size_t size, char *in) {
  size_t length = strlen(in);
  while (length > 0 && strchr("\n\t ", in[length - 1]))
    in[--length] = '\0';
  text_show(in, out, size);
}

static void error_format(char *out, size_t size, const char *format, va_list args) {
  char raw[2 * ERROR_MESSAGE_SIZE]; /* apart, since an argument may point into *err itself */
  vsnprintf(raw, sizeof raw, format, args);
  error_copy(out, size, raw);
}

Status error_set_v(Error *err, Status status, const char *format, va_list args) {
  char message[ERROR_MESSAGE_SIZE];
  error_format(message, sizeof message, format, args);
  memcpy(err->message, message, sizeof message);
  err->status = status;
  snprintf(err->remedy, sizeof err->remedy, "%s", error_default_remedy(status));
  err->object[0] = '\0';
  return status;
}

Status error_set(Error *err, Status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_set_v(err, status, format, args);
  va_end(args);
  return status;
}

Status error_set_errno(Error *err, int errno_value, const char *format, ...) {
  char message[ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  error_format(message, sizeof message, format, args);
  va_end(args);
  char reason[128];
  const char *text = strerror_r(errno_value, reason, sizeof reason);
  Status status = errno_value == ENOSPC || errno_value == EDQUOT ? ERR_DISK_FULL : ERR_IO;
  return error_set(err, status, "%s: %s", message, text);
}

void error_remedy(Error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_format(err->remedy, sizeof err->remedy, format, args);
  va_end(args);
}

void error_object(Error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  error_format(err->object, sizeof err->object, format, args);
  va_end(args);
}

Status error_prefix(Error *err, const char *format, ...) {
  char message[2 * ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  error_format(message, ERROR_MESSAGE_SIZE, format, args);
  va_end(args);
  size_t used = strlen(message);
  snprintf(message + used, sizeof message - used, ": %s", err->message);
  error_copy(err->message, sizeof err->message, message);
  return err->status;
}

static const ErrorRow *error_row(Status status) {
  return (unsigned)status < STATUS_COUNT ? &error_table[status] : &error_table[ERR_INTERNAL];
}

const char *error_code(Status status) {
  return error_row(status)->code;
}

const char *error_default_remedy(Status status) {
  return error_row(status)->remedy;
}

ErrorClass error_class(Status status) {
  return error_row(status)->class;
}

Outcome error_outcome(Status status) {
  return error_row(status)->outcome;
}

Status error_from_code(const char *code) {
  for (int i = 0; i < STATUS_COUNT; i++)
    if (strcmp(error_table[i].code, code) == 0)
      return (Status)i;
  return STATUS_COUNT;
}

const char *outcome_name(Outcome outcome) {
  return (unsigned)outcome < sizeof outcome_names / sizeof *outcome_names ? outcome_names[outcome] : "errored";
}

bool outcome_from_name(const char *name, Outcome *outcome) {
  for (size_t i = 0; i < sizeof outcome_names / sizeof *outcome_names; i++)
    if (strcmp(outcome_names[i], name) == 0) {
      *outcome = (Outcome)i;
      return true;
    }
  return false;
}
