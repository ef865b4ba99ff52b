#include <stdlib.h>
#include <string.h>

#include "agent/recovery/plan.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { TYPE_ARGUMENTS = 2 };

/* "numeric(10,2)": its name, and what is in the parentheses. */
typedef struct Type {
  char *name;
  long arguments[TYPE_ARGUMENTS];
  size_t argument_count;
  bool array;
} Type;

static void type_release(Type *type) {
  free(type->name);
}

/* Without what follows a type in a column's definition. */
static size_t type_length(const char *text) {
  static const char *const ends[] = {" NOT NULL", " DEFAULT ", " COLLATE ", " GENERATED ", " CONSTRAINT "};
  size_t length = strlen(text);
  for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
    const char *found = strstr(text, ends[i]);
    length = found && (size_t)(found - text) < length ? (size_t)(found - text) : length;
  }
  return length;
}

/* "timestamp(3) with time zone" is "timestamp with time zone" of 3. */
static Type type_parse(const char *text) {
  Type type = {.name = memory_strndup(text, type_length(text))};
  size_t length = strlen(type.name);
  type.array = length > 2 && strcmp(type.name + length - 2, "[]") == 0;
  if (type.array)
    type.name[length - 2] = '\0';
  char *open = strchr(type.name, '('), *close = open ? strchr(open, ')') : NULL;
  if (!close)
    return type;
  for (char *at = open + 1; at < close && type.argument_count < TYPE_ARGUMENTS; at++)
    type.arguments[type.argument_count++] = strtol(at, &at, 10);
  memmove(open, close + 1, strlen(close + 1) + 1);
  return type;
}

static bool is_one_of(const char *name, const char *const *names, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(name, names[i]) == 0)
      return true;
  return false;
}

/* Digits before the point of the largest value; 0: no integer. */
static long integer_digits(const char *name) {
  return strcmp(name, "smallint") == 0 ? 5 : strcmp(name, "integer") == 0 ? 10 : strcmp(name, "bigint") == 0 ? 19 : 0;
}

/* To one with as many arguments, none of which is less. */
static bool is_as_wide(const Type *was, const Type *is) {
  if (is->argument_count == 0)
    return true; /* without a limit */
  if (was->argument_count == 0 || strcmp(is->name, "bit") == 0)
    return false; /* bits are filled up */
  if (strcmp(is->name, "numeric") != 0)
    return is->arguments[0] >= was->arguments[0];
  return is->arguments[1] >= was->arguments[1] &&
         is->arguments[0] - is->arguments[1] >= was->arguments[0] - was->arguments[1];
}

static bool is_wider(const Type *was, const Type *is) {
  static const struct {
    const char *was, *is;
  } pairs[] = {{"real", "double precision"},
               {"smallint", "real"},
               {"smallint", "double precision"},
               {"integer", "double precision"},
               {"date", "timestamp without time zone"},
               {"jsonb", "json"},
               {"cidr", "inet"}};
  long was_digits = integer_digits(was->name), is_digits = integer_digits(is->name);
  if (was_digits && is_digits)
    return is_digits >= was_digits;
  if (was_digits && strcmp(is->name, "numeric") == 0)
    return is->argument_count == 0 || is->arguments[0] - is->arguments[1] >= was_digits;
  for (size_t i = 0; i < ARRAY_SIZE(pairs); i++)
    if (strcmp(was->name, pairs[i].was) == 0 && strcmp(is->name, pairs[i].is) == 0)
      return is->argument_count == 0;
  return false;
}

bool plan_type_keeps(const char *was, const char *is) {
  static const char *const texts[] = {"text", "character varying"};
  CLEANUP(type_release) Type from = type_parse(was);
  CLEANUP(type_release) Type to = type_parse(is);
  bool text = is_one_of(to.name, texts, ARRAY_SIZE(texts));
  if (text && to.argument_count == 0 && !to.array)
    return true; /* as it is written */
  if (from.array != to.array)
    return false;
  if (strcmp(from.name, to.name) == 0)
    return is_as_wide(&from, &to);
  return is_wider(&from, &to);
}
