/*
 * Command-line options by table: `--name value`, `--name=value`, `--flag`, anywhere among the arguments; `--` ends
 * them. An unknown option is answered with the nearest known one. Texts are borrowed from argv.
 */
#ifndef PGSEAL_CLI_OPTIONS_H
#define PGSEAL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

typedef enum OptionKind { OPTION_FLAG, OPTION_TEXT, OPTION_INTEGER, OPTION_LIST } OptionKind;

typedef struct OptionList {
  const char **items; /* free() it; the texts are borrowed */
  size_t count;
} OptionList;

typedef struct Option {
  const char *name; /* without the dashes */
  OptionKind kind;
  void *target;        /* bool *, const char **, int * or OptionList * */
  const char *metavar; /* what the help calls its value; NULL for a flag */
  const char *help;
} Option;

/* ERR_INVALID_ARGUMENT with a message for the user. *positional_count: how many arguments there were, at most max. */
Status options_parse(const Option *options, size_t count, int argc, char **argv, int max, const char **positional,
                     int *positional_count, Error *err) MUST_CHECK;

/* The nearest of the names, or NULL if none is near enough to be meant (Damerau-Levenshtein, transpositions count one).
 */
const char *options_nearest(const char *word, const char *const *names, size_t count);

#endif
