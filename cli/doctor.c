/* pgseal doctor: the agent's own program looks, since it is what would do the work. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/base/program.h"
#include "common/base/cleanup.h"

ExitCode command_doctor(Cli *cli, int argc, char **argv) {
  const char *config = NULL;
  const Option options[] = {{"config", OPTION_TEXT, &config, "FILE", "the agent's configuration: agent.yaml"}};
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), false, argc, argv, 0, 0, NULL, &code))
    return code;
  if (!config)
    return cli_usage(cli, "--config is missing: the agent's agent.yaml");
  CLEANUP_FREE char *path = program_path("pgseal-agent");
  execlp(path, path, "check", "--config", config, (char *)NULL);
  Error err;
  error_set_errno(&err, errno, "cannot run %s", path);
  error_remedy(&err, "Install pgseal-agent on this machine: the doctor looks where the agent works.");
  return cli_fail(cli, &err);
}
