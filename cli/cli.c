#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { HELP_INDENT = 31, HELP_WIDTH = 120 };

const char *cli_style(bool color, Style style) {
  static const char *const codes[] = {
      [STYLE_PLAIN] = "",          [STYLE_BOLD] = "\x1b[1m",   [STYLE_DIM] = "\x1b[2m",
      [STYLE_GOOD] = "\x1b[1;32m", [STYLE_BAD] = "\x1b[1;31m", [STYLE_WARN] = "\x1b[33m"};
  return color ? codes[style] : "";
}

const char *cli_reset(bool color) {
  return color ? "\x1b[0m" : "";
}

void cli_print_json(const json_t *json) {
  CLEANUP_FREE char *text = json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY);
  for (const char *p = text; p && *p; p += strspn(p, "\n")) { /* JSON lets most control characters be as they are */
    size_t length = strcspn(p, "\n");
    CLEANUP_FREE char *line = memory_strndup(p, length);
    if (!text_printable(line)) {
      free(text);
      text = json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
      break;
    }
    p += length;
  }
  printf("%s\n", text ? text : "null");
}

/* What was formatted, with control characters of whatever words are in it made visible. */
static void cli_say(const char *format, va_list args) {
  char *text = NULL;
  int size = vasprintf(&text, format, args);
  if (size < 0)
    return;
  size_t limit = 6 * (size_t)size + 1;
  CLEANUP_FREE char *shown = memory_alloc(limit);
  fprintf(stderr, "pgseal: %s\n", text_show(text, shown, limit));
  free(text);
}

void cli_note(const Cli *cli, const char *format, ...) {
  (void)cli;
  va_list args;
  va_start(args, format);
  cli_say(format, args);
  va_end(args);
}

static ExitCode cli_exit_code(const Error *err) {
  switch (err->status) {
  case ERR_UNAVAILABLE:
  case ERR_UNAUTHORIZED:
  case ERR_FORBIDDEN:
    return EXIT_UNREACHABLE;
  case ERR_INVALID_ARGUMENT:
  case ERR_NOT_FOUND:
  case ERR_CONFIG:
  case ERR_CONFIRMATION_NEEDED:
    return EXIT_USAGE;
  default:
    return error_outcome(err->status) == OUTCOME_FAILED ? EXIT_FAILED : EXIT_ERRORED;
  }
}

ExitCode cli_fail(const Cli *cli, const Error *err) {
  if (cli->json) {
    json_t *json = json_pack("{s:b, s:{s:s, s:s, s:s, s:s}}", "ok", 0, "error", "code", error_code(err->status),
                             "message", err->message, "remedy", err->remedy, "object", err->object);
    cli_print_json(json);
    json_decref(json);
  }
  fprintf(stderr, "%spgseal: %s%s (%s)\n", cli_style(cli->color_err, STYLE_BAD), err->message,
          cli_reset(cli->color_err), error_code(err->status));
  if (err->object[0] && !strstr(err->message, err->object))
    fprintf(stderr, "  object: %s\n", err->object);
  if (err->remedy[0])
    fprintf(stderr, "  remedy: %s\n", err->remedy);
  return cli_exit_code(err);
}

ExitCode cli_usage(const Cli *cli, const char *format, ...) {
  va_list args;
  va_start(args, format);
  cli_say(format, args);
  va_end(args);
  fprintf(stderr, "Usage: pgseal %s%s%s\n`pgseal %s --help` tells more.\n", cli->command->name,
          *cli->command->usage ? " " : "", cli->command->usage, cli->command->name);
  return EXIT_USAGE;
}

/* Words of an option's help, in their column. */
static void cli_print_wrapped(const char *text, bool indent) {
  int used = HELP_INDENT;
  if (indent)
    printf("%*s", HELP_INDENT, "");
  while (*text) {
    size_t length = strcspn(text, " ");
    if (used > HELP_INDENT && used + 1 + length > HELP_WIDTH) {
      printf("\n%*s", HELP_INDENT, "");
      used = HELP_INDENT;
    }
    used += printf("%s%.*s", used > HELP_INDENT ? " " : "", (int)length, text);
    text += length + (text[length] == ' ');
  }
  putchar('\n');
}

static void cli_print_help(const Command *command, const Option *options, size_t count) {
  printf("Usage: pgseal %s%s%s\n\n%s\n\nOptions:\n", command->name, *command->usage ? " " : "", command->usage,
         command->help);
  for (size_t i = 0; i < count; i++) {
    CLEANUP_FREE char *name = memory_format("--%s%s%s", options[i].name, options[i].metavar ? " " : "",
                                            options[i].metavar ? options[i].metavar : "");
    bool wide = strlen(name) > HELP_INDENT - 3;
    printf("  %-*s%s", HELP_INDENT - 2, name, wide ? "\n" : "");
    cli_print_wrapped(options[i].help, wide);
  }
}

/* A command's own option goes before the one of the same name that all have. */
static size_t cli_add_shared(Option *all, size_t count, const Option *shared, size_t shared_count) {
  size_t total = count;
  for (size_t i = 0; i < shared_count; i++) {
    bool own = false;
    for (size_t j = 0; j < count; j++)
      own |= strcmp(all[j].name, shared[i].name) == 0;
    if (!own)
      all[total++] = shared[i];
  }
  return total;
}

bool cli_parse(Cli *cli, const Option *options, size_t count, bool with_api, int argc, char **argv, int min, int max,
               const char **positional, ExitCode *exit_code) {
  bool help = false;
  const Option shared[] = {
      {"url", OPTION_TEXT, &cli->url, "URL", "the coordinator (default: PGSEAL_URL, or http://127.0.0.1:8420)"},
      {"token-file", OPTION_TEXT, &cli->token_file, "FILE",
       "holds the token (default: PGSEAL_TOKEN, PGSEAL_TOKEN_FILE)"},
      {"ca-file", OPTION_TEXT, &cli->ca_file, "FILE",
       "of the CA of the coordinator's certificate (default: PGSEAL_CA_FILE)"},
      {"unencrypted", OPTION_FLAG, &cli->unencrypted, NULL,
       "let the token go over plain http:// to another machine (default: PGSEAL_UNENCRYPTED=1)"},
      {"json", OPTION_FLAG, &cli->json, NULL, "print the API's JSON instead of text"},
      {"help", OPTION_FLAG, &help, NULL, "this text"},
  };
  size_t skipped = with_api ? 0 : ARRAY_SIZE(shared) - 1, total = count + ARRAY_SIZE(shared) - skipped;
  CLEANUP_FREE Option *all = memory_resize(NULL, total, sizeof *all);
  if (count > 0)
    memcpy(all, options, count * sizeof *all);
  total = cli_add_shared(all, count, shared + skipped, ARRAY_SIZE(shared) - skipped);
  int found = 0;
  Error err;
  Status status = options_parse(all, total, argc, argv, max, positional, &found, &err);
  if (help) {
    cli_print_help(cli->command, all, total);
    *exit_code = EXIT_DONE;
    return false;
  }
  if (status != STATUS_OK) {
    *exit_code = cli_usage(cli, "%s", err.message);
    return false;
  }
  if (found < min) {
    *exit_code = cli_usage(cli, "%s", found == 0 ? "an argument is missing" : "not enough arguments");
    return false;
  }
  return true;
}
