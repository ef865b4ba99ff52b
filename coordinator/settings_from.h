/* Where a part of coordinator.yaml is from, for those who take it (alerts, reports, oidc, traces). */
#ifndef PGSEAL_COORDINATOR_SETTINGS_FROM_H
#define PGSEAL_COORDINATOR_SETTINGS_FROM_H

/* directory: that paths are relative to. own: keeps a new string as long as the configuration lives. */
typedef struct SettingsFrom {
  const char *path, *directory;
  const char *(*own)(void *user, char *text);
  void *user;
} SettingsFrom;

/* Of a path in the file, absolute, kept; NULL of NULL. */
const char *settings_path(const SettingsFrom *from, const char *path);

#endif
