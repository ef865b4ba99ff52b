#include "coordinator/settings_from.h"

#include <stddef.h>

#include "common/config/yaml.h"

const char *settings_path(const SettingsFrom *from, const char *path) {
  return path ? from->own(from->user, config_resolve(from->directory, path)) : NULL;
}
