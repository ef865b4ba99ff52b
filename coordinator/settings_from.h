/* Where a part of coordinator.yaml is from, for those who take it (alerts, reports, traces). */
#ifndef PGSEAL_COORDINATOR_SETTINGS_FROM_H
#define PGSEAL_COORDINATOR_SETTINGS_FROM_H

/* directory: that paths are relative to. own: keeps a new string as long as the configuration lives. */
typedef struct SettingsFrom {
  const char *path, *directory;
  const char *(*own)(void *user, char *text);
  void *user;
} SettingsFrom;

#endif
