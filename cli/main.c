/* pgseal: a client of the coordinator's HTTP API; and `dev`, `key` and `fetch`, which do without one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/process.h"

enum { FIRST_WORD_SIZE = 32 };

static void main_help(void) {
  printf("pgseal: checkpoints of PostgreSQL databases, proven by restoring them.\n\n"
         "Usage: pgseal COMMAND [ARGUMENTS]\n\nCommands:\n");
  for (size_t i = 0; i < cli_command_count; i++)
    printf("  %-17s %s\n", cli_commands[i].name, cli_commands[i].summary);
  printf("\n`pgseal COMMAND --help` explains one, with examples. To begin:\n"
         "  pgseal dev --database prod-api='host=db1 dbname=api user=pgseal'\n"
         "  pgseal checkpoint prod-api --tag pre-deploy-1\n\n"
         "Environment:\n"
         "  PGSEAL_URL         the coordinator (default http://127.0.0.1:8420)\n"
         "  PGSEAL_TOKEN       the token; or PGSEAL_TOKEN_FILE, a file that holds it\n"
         "  PGSEAL_CA_FILE     the certificate of the CA of an https:// coordinator, if this machine does not know it\n"
         "  TRACEPARENT        the trace (W3C Trace Context) that a checkpoint is to be part of\n"
         "  PGSEAL_UNENCRYPTED 1: the token may go over plain http:// to another machine, for others to read\n"
         "  PGSEAL_REHEARSE_SECRET  what `pgseal rehearse` and the agent share; or PGSEAL_REHEARSE_SECRET_FILE\n"
         "  NO_COLOR           no colours\n\n"
         "Exit codes: 0 done and proven; 1 failed; 2 usage; 3 the coordinator cannot be reached or refused the token;\n"
         "4 errored: it did not come to an end, and nothing is condemned; 5 of plan, guard and\n"
         "rehearse: something is lost, or would be.\n");
}

/* The command that the first two words name, or else the first; *used: how many words. */
static const Command *main_find(int argc, char **argv, int *used) {
  const Command *found = NULL;
  for (size_t i = 0; i < cli_command_count; i++) {
    const char *name = cli_commands[i].name, *space = strchr(name, ' ');
    size_t length = space ? (size_t)(space - name) : strlen(name);
    if (strlen(argv[0]) != length || strncmp(argv[0], name, length) != 0)
      continue;
    if (space && (argc < 2 || strcmp(argv[1], space + 1) != 0))
      continue;
    if (found && !space)
      continue;
    *used = space ? 2 : 1;
    found = &cli_commands[i];
  }
  return found;
}

/* `pgseal token`, `pgseal token --help`: what begins with that word. */
static bool main_group(const char *word, FILE *out) {
  bool found = false;
  size_t length = strlen(word);
  for (size_t i = 0; i < cli_command_count; i++) {
    const Command *c = &cli_commands[i];
    if (strncmp(c->name, word, length) != 0 || c->name[length] != ' ')
      continue;
    fprintf(out, "%s pgseal %s%s%s\n         %s\n", found ? "      " : "Usage:", c->name, *c->usage ? " " : "",
            c->usage, c->summary);
    found = true;
  }
  return found;
}

static ExitCode main_unknown(const char *word) {
  CLEANUP_FREE const char **names = memory_alloc(2 * cli_command_count * sizeof *names);
  CLEANUP_FREE char *firsts = memory_alloc(cli_command_count * FIRST_WORD_SIZE);
  size_t count = 0;
  for (size_t i = 0; i < cli_command_count; i++) {
    char *first = firsts + i * FIRST_WORD_SIZE; /* of "token create", too */
    snprintf(first, FIRST_WORD_SIZE, "%.*s", (int)strcspn(cli_commands[i].name, " "), cli_commands[i].name);
    names[count++] = cli_commands[i].name;
    names[count++] = first;
  }
  const char *nearest = options_nearest(word, names, count);
  cli_note(NULL, "there is no command '%s'%s%s%s", word, nearest ? "; did you mean `pgseal " : "",
           nearest ? nearest : "", nearest ? "`?" : "");
  fprintf(stderr, "`pgseal --help` lists the commands.\n");
  return EXIT_USAGE;
}

static ExitCode main_run(int argc, char **argv) {
  if (argc < 1 || strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0 || strcmp(argv[0], "help") == 0) {
    main_help();
    return argc < 1 ? EXIT_USAGE : EXIT_DONE;
  }
  if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "version") == 0) {
    printf("pgseal %s\n", PGSEAL_VERSION);
    return EXIT_DONE;
  }
  int used = 0;
  Cli cli = {.command = main_find(argc, argv, &used)};
  if (!cli.command) {
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    if (main_group(argv[0], help ? stdout : stderr))
      return help ? EXIT_DONE : EXIT_USAGE;
    return main_unknown(argv[0]);
  }
  const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
  bool color = !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
  cli.color_out = color && isatty(STDOUT_FILENO);
  cli.color_err = color && isatty(STDERR_FILENO);
  cli.live = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
  ExitCode code = cli.command->run(&cli, argc - used, argv + used);
  http_close(cli.http);
  if (cli.token)
    explicit_bzero(cli.token, strlen(cli.token));
  free(cli.token);
  return code;
}

int main(int argc, char **argv) {
  process_harden(); /* tokens, and keys that open checkpoints */
  ExitCode code = main_run(argc - 1, argv + 1);
  if (fflush(stdout) != 0 || ferror(stdout)) {
    perror("pgseal: cannot write the output");
    return EXIT_ERRORED;
  }
  return code;
}
