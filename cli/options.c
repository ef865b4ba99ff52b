#include "cli/options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { NEAREST_WORD_LIMIT = 64 };

static int minimum(int a, int b) {
  return a < b ? a : b;
}

static int options_distance(const char *a, const char *b) {
  size_t m = strlen(a), n = strlen(b);
  if (m >= NEAREST_WORD_LIMIT || n >= NEAREST_WORD_LIMIT)
    return INT_MAX;
  int d[NEAREST_WORD_LIMIT + 1][NEAREST_WORD_LIMIT + 1];
  for (size_t i = 0; i <= m; i++)
    d[i][0] = (int)i;
  for (size_t j = 0; j <= n; j++)
    d[0][j] = (int)j;
  for (size_t i = 1; i <= m; i++)
    for (size_t j = 1; j <= n; j++) {
      d[i][j] = minimum(minimum(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = minimum(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[m][n];
}

const char *options_nearest(const char *word, const char *const *names, size_t count) {
  const char *best = NULL;
  int least = INT_MAX;
  for (size_t i = 0; i < count; i++) {
    int distance = options_distance(word, names[i]);
    if (strlen(word) >= 3 && strncmp(names[i], word, strlen(word)) == 0)
      distance = minimum(distance, 1); /* somebody abbreviated */
    if (distance < least) {
      least = distance;
      best = names[i];
    }
  }
  int allowed = strlen(word) <= 4 ? 1 : strlen(word) <= 8 ? 2 : 3;
  return least <= allowed ? best : NULL;
}

static const Option *options_find(const Option *options, size_t count, const char *name, size_t length) {
  for (size_t i = 0; i < count; i++)
    if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
      return &options[i];
  return NULL;
}

static Status options_unknown(const Option *options, size_t count, const char *name, size_t length, Error *err) {
  CLEANUP_FREE char *word = memory_strndup(name, length);
  CLEANUP_FREE const char **names = memory_resize(NULL, count, sizeof *names);
  for (size_t i = 0; i < count; i++)
    names[i] = options[i].name;
  const char *nearest = options_nearest(word, names, count);
  if (nearest)
    return error_set(err, ERR_INVALID_ARGUMENT, "there is no option --%s; did you mean --%s?", word, nearest);
  return error_set(err, ERR_INVALID_ARGUMENT, "there is no option --%s", word);
}

static Status options_assign(const Option *option, const char *value, Error *err) {
  char *end;
  long number;
  switch (option->kind) {
  case OPTION_FLAG:
    *(bool *)option->target = true;
    return STATUS_OK;
  case OPTION_TEXT:
    *(const char **)option->target = value;
    return STATUS_OK;
  case OPTION_LIST: {
    OptionList *list = option->target;
    ARRAY_PUSH(list->items, list->count, value);
    return STATUS_OK;
  }
  case OPTION_INTEGER:
    errno = 0;
    number = strtol(value, &end, 10);
    if (end == value || *end || errno || number < 0 || number > INT_MAX)
      return error_set(err, ERR_INVALID_ARGUMENT, "--%s takes a number, not '%s'", option->name, value);
    *(int *)option->target = (int)number;
    return STATUS_OK;
  }
  return error_set(err, ERR_INTERNAL, "option --%s has no kind", option->name);
}

Status options_parse(const Option *options, size_t count, int argc, char **argv, int max, const char **positional,
                     int *positional_count, Error *err) {
  int found = 0;
  bool ended = false;
  for (int i = 0; i < argc; i++) {
    const char *word = argv[i];
    if (!ended && strcmp(word, "--") == 0) {
      ended = true;
      continue;
    }
    if (ended || word[0] != '-' || word[1] == '\0') {
      if (found == max)
        return error_set(err, ERR_INVALID_ARGUMENT, "the argument '%s' is one too many", word);
      positional[found++] = word;
      continue;
    }
    if (word[1] != '-' && strcmp(word, "-h") != 0)
      return error_set(err, ERR_INVALID_ARGUMENT, "there is no option %s; options start with two dashes", word);
    const char *name = word[1] == '-' ? word + 2 : "help";
    size_t length = strcspn(name, "=");
    const Option *option = options_find(options, count, name, length);
    if (!option)
      return options_unknown(options, count, name, length, err);
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (option->kind == OPTION_FLAG && value)
      return error_set(err, ERR_INVALID_ARGUMENT, "--%s takes no value", option->name);
    if (option->kind != OPTION_FLAG && !value) {
      if (i + 1 >= argc)
        return error_set(err, ERR_INVALID_ARGUMENT, "--%s needs a value: --%s %s", option->name, option->name,
                         option->metavar);
      value = argv[++i];
    }
    Status status = options_assign(option, value, err);
    if (status != STATUS_OK)
      return status;
  }
  for (int i = found; i < max; i++)
    positional[i] = NULL;
  *positional_count = found;
  return STATUS_OK;
}
