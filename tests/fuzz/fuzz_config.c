/* coordinator.yaml: any bytes are loaded or refused, without a leak; what is loaded is within its ranges. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a directory of its own: files that it names are looked for beside it, and nothing is to be found there. */
static const char *config_path(void) {
  static char directory[] = "/tmp/pgseal-fuzz-XXXXXX", path[64];
  if (!path[0]) {
    if (!mkdtemp(directory))
      abort();
    snprintf(path, sizeof path, "%s/config", directory);
  }
  return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *path = config_path();
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size)
    abort();
  CoordinatorConfig *config = NULL;
  Error err = {0};
  Status status = coordinator_config_load(path, &config, &err);
  close(fd);
  unlink(path);
  if (status == STATUS_OK) {
    if (!config || !config->http || !config->ledger || config->lease_seconds < 1 || config->max_attempts < 1)
      abort();
    for (size_t i = 0; i < config->database_count; i++) {
      if (coordinator_config_database(config, config->databases[i].name) != &config->databases[i])
        abort();
    }
  } else if (config || !err.message[0] || err.status != status) {
    abort();
  } else if (status != ERR_CONFIG && !strstr(err.message, "ledger_conninfo_file")) {
    abort(); /* the one file that is read beside it may be missing, too large, or not to be read */
  }
  coordinator_config_free(config);
  return 0;
}
