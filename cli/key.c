/* pgseal key generate: keys are made where they are used, and never travel. */
#include <string.h>

#include "cli/cli.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/signing.h"

enum { KEY_DAYS = 3650 };

ExitCode command_key_generate(Cli *cli, int argc, char **argv) {
  const char *kind = NULL, *prefix = NULL, *name = NULL;
  int days = KEY_DAYS;
  const Option options[] = {
      {"kind", OPTION_TEXT, &kind, "KIND", "recipient: to encrypt checkpoints to; signing: an agent's identity"},
      {"out", OPTION_TEXT, &prefix, "PREFIX", "writes PREFIX.key, and PREFIX.crt (recipient) or PREFIX.pub (signing)"},
      {"name", OPTION_TEXT, &name, "CN", "common name of the certificate (default: PREFIX's last part)"},
      {"days", OPTION_INTEGER, &days, "DAYS", "how long the certificate is valid (default 3650)"},
  };
  ExitCode code;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), false, argc, argv, 0, 0, NULL, &code))
    return code;
  if (!kind || !prefix)
    return cli_usage(cli, "%s is missing", kind ? "--out" : "--kind");
  bool recipient = strcmp(kind, "recipient") == 0;
  if (!recipient && strcmp(kind, "signing") != 0)
    return cli_usage(cli, "--kind is recipient or signing, not '%s'", kind);
  if (days < 1)
    return cli_usage(cli, "--days is at least 1");
  const char *slash = strrchr(prefix, '/');
  CLEANUP_FREE char *private_path = memory_format("%s.key", prefix);
  CLEANUP_FREE char *public_path = memory_format("%s.%s", prefix, recipient ? "crt" : "pub");
  Error err;
  Status status = recipient ? recipient_generate(private_path, public_path,
                                                 name    ? name
                                                 : slash ? slash + 1
                                                         : prefix,
                                                 days, &err)
                            : signing_key_generate(private_path, public_path, &err);
  if (status != STATUS_OK)
    return cli_fail(cli, &err);
  printf("%s\n%s\n", private_path, public_path);
  return EXIT_DONE;
}
