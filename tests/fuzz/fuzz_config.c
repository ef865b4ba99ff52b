/* coordinator.yaml: any bytes are loaded or refused, without a leak; what is loaded is within its ranges. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coordinator/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char path[64];
  int fd = memfd_create("config", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size)
    abort();
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  CoordinatorConfig *config = NULL;
  Error err = {0};
  Status status = coordinator_config_load(path, &config, &err);
  close(fd);
  if (status == STATUS_OK) {
    if (!config || !config->http || !config->ledger || config->lease_seconds < 1 || config->max_attempts < 1)
      abort();
    for (size_t i = 0; i < config->database_count; i++) {
      if (coordinator_config_database(config, config->databases[i].name) != &config->databases[i])
        abort();
    }
  } else if (config || status != ERR_CONFIG || !err.message[0] || err.status != status) {
    abort();
  }
  coordinator_config_free(config);
  return 0;
}
