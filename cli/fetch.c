/* pgseal fetch: a checkpoint back as a standard archive, read from the repository directly. */
#include "cli/fetch.h"

#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"

static void fetch_release(Fetch *fetch) {
  stored_release(&fetch->stored);
}

static ExitCode fetch_run(Cli *cli, Fetch *fetch) {
  Error err;
  Status status = stored_open(cli, &fetch->stored, &err);
  if (status == STATUS_OK)
    status = stored_manifest(&fetch->stored, &err);
  if (status == STATUS_OK && fetch->roles)
    status = fetch_write_roles(fetch, &err);
  if (status == STATUS_OK && fetch->to_stdout)
    status = fetch_write_stdout(cli, fetch, &err);
  if (status == STATUS_OK && fetch->output)
    status = fetch_write_file(cli, fetch, &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  if (fetch->list)
    fetch_print(cli, fetch);
  return EXIT_DONE;
}

ExitCode command_fetch(Cli *cli, int argc, char **argv) {
  CLEANUP(fetch_release) Fetch fetch = {0};
  const Option options[] = {
      STORED_OPTIONS(fetch.stored),
      {"output", OPTION_TEXT, &fetch.output, "FILE", "write a seekable archive there; it must not exist yet"},
      {"stdout", OPTION_FLAG, &fetch.to_stdout, NULL, "write the archive to standard output, as it was dumped"},
      {"list", OPTION_FLAG, &fetch.list, NULL, "print what the manifest says is in it"},
      {"roles", OPTION_TEXT, &fetch.roles, "FILE", "write the roles' SQL there; it must not exist yet"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 1, &fetch.stored.which, &code))
    return code;
  if (!fetch.stored.which == !fetch.stored.prefix_path)
    return cli_usage(cli, "name the checkpoint: either ID or TAG, or --prefix");
  if (!stored_wanted(cli, &fetch.stored, &code))
    return code;
  if (!fetch.output && !fetch.to_stdout && !fetch.list && !fetch.roles)
    return cli_usage(cli, "say what to do with it: --output FILE, --stdout, --list or --roles FILE");
  if (fetch.to_stdout && (fetch.output || fetch.list))
    return cli_usage(cli, "--stdout excludes --output and --list");
  if (fetch.to_stdout && isatty(STDOUT_FILENO))
    return cli_usage(cli, "an archive is nothing for a terminal: redirect it, or use --output FILE");
  const char *files[] = {fetch.output, fetch.roles};
  for (size_t i = 0; i < ARRAY_SIZE(files); i++)
    if (files[i] && file_exists(files[i]))
      return cli_usage(cli, "%s exists already", files[i]);
  return fetch_run(cli, &fetch);
}
