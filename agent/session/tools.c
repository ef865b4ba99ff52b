#include "agent/session/tools.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { OLDEST_MAJOR = 13, NEWEST_MAJOR = 19 };

static void add(AgentTools *tools, char *name, char *version) {
  if (tools->count == TOOLS_LIMIT) {
    free(name);
    free(version);
    return;
  }
  tools->items[tools->count++] = (AgentTool){name, version};
}

void agent_tools_find(const AgentConfig *config, AgentTools *tools) {
  for (int major = OLDEST_MAJOR; major <= NEWEST_MAJOR; major++) {
    CLEANUP_FREE char *dir = NULL;
    char *version = NULL;
    Error absent;
    if (postgres_tools_find(config->bin_dirs, config->bin_dir_count, major, &dir, &version, &absent) == STATUS_OK)
      add(tools, memory_format("pg_dump-%d", major), version);
  }
  static const char *const engines[] = {"auto", "docker", "local"};
  if (!config->can_drill && !config->can_rehearse)
    return;
  add(tools, memory_strdup("trials"), memory_strdup("1")); /* an older one would take them for something else */
  if (config->can_drill)
    add(tools, memory_strdup("inventories"), memory_strdup("1"));
  add(tools, memory_strdup("engine"), memory_strdup(engines[config->drill.engine]));
  if (config->drill.engine == DRILL_ENGINE_LOCAL)
    return;
  for (size_t i = 0; i < config->drill.allow_image_count; i++)
    add(tools, memory_format("allowed-image-%zu", i), memory_strdup(config->drill.allow_images[i]));
  for (size_t i = 0; i < config->drill.image_count; i++)
    add(tools, memory_format("image-%d", config->drill.images[i].major), memory_strdup(config->drill.images[i].image));
}

bool agent_tools_inner(const char *name) {
  return strcmp(name, "trials") == 0 || strcmp(name, "inventories") == 0;
}

bool agent_tools_set(AgentTools *tools, const char *name, const char *version) {
  for (size_t i = 0; i < tools->count; i++) {
    if (strcmp(tools->items[i].name, name) != 0)
      continue;
    if (strcmp(tools->items[i].version, version) == 0)
      return false;
    free(tools->items[i].version);
    tools->items[i].version = memory_strdup(version);
    return true;
  }
  add(tools, memory_strdup(name), memory_strdup(version));
  return true;
}

void agent_tools_release(AgentTools *tools) {
  for (size_t i = 0; i < tools->count; i++) {
    free(tools->items[i].name);
    free(tools->items[i].version);
  }
  tools->count = 0;
}
