#include "cli/secret.h"

#include <string.h>

#include "cli/api.h"
#include "cli/http.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

ExitCode secret_hand_out(Cli *cli, const json_t *json, const char *output, const char *what, const char *lost,
                         bool *shown) {
  const char *secret = api_text(json, "token");
  Error err;
  *shown = false;
  if (output) {
    CLEANUP_FREE char *line = memory_format("%s\n", secret);
    if (file_write_atomic(output, 0600, line, strlen(line), &err) != STATUS_OK) {
      error_remedy(&err, "%s", lost);
      return cli_fail(cli, &err);
    }
    cli_note(cli, "%s is in %s", what, output);
  } else if (cli->json) {
    cli_print_json(json);
  } else {
    printf("%s\n", secret);
    *shown = true;
  }
  return EXIT_DONE;
}

ExitCode secret_revoke(Cli *cli, int argc, char **argv, const char *collection, const char *kind,
                       const char *consequence) {
  const char *name = NULL;
  ExitCode code;
  if (!cli_parse(cli, NULL, 0, true, argc, argv, 1, 1, &name, &code))
    return code;
  Error err;
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP_FREE char *escaped = http_escape(name);
  CLEANUP_FREE char *path = memory_format("%s/%s", collection, escaped);
  if (api_call(cli, "DELETE", path, NULL, NULL, &json, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  if (cli->json)
    cli_print_json(json);
  else
    printf("%s '%s' is revoked%s\n", kind, name, consequence);
  return EXIT_DONE;
}
