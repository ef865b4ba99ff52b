/* pg_dump and pg_restore of the server's own major version. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/postgres/connection.h"

enum { TOOLS_OUTPUT_LIMIT = 4096 };

/* "pg_dump (PostgreSQL) 17.6 (Debian 17.6-1)" -> 17, "17.6". False if the file is no such tool. */
static bool tools_version(const char *file, int *major, char **version) {
  Error ignored;
  CLEANUP(buffer_release) Buffer out = {0};
  /* Debian's wrapper in /usr/bin is not to choose a version by somebody's PGCLUSTER */
  const char *argv[] = {file, "--version", NULL}, *env[] = {"LC_ALL=C", "PGCLUSTER", NULL};
  ProcessOptions options = {.argv = argv, .env = env};
  if (process_run(&options, TOOLS_OUTPUT_LIMIT, &out, &ignored) != STATUS_OK)
    return false;
  const char *found = strstr(buffer_text(&out), "(PostgreSQL) ");
  if (!found)
    return false;
  found += strlen("(PostgreSQL) ");
  char *end;
  long number = strtol(found, &end, 10);
  if (end == found || number < 1 || number > 1000)
    return false;
  *major = (int)number;
  *version = memory_strndup(found, strcspn(found, " \n"));
  return true;
}

typedef enum ToolsMatch { TOOLS_ABSENT, TOOLS_OTHER_MAJOR, TOOLS_FOUND } ToolsMatch;

static ToolsMatch tools_try(const char *dir, int major, char **version, int *found_major) {
  CLEANUP_FREE char *dump = memory_format("%s/pg_dump", dir);
  CLEANUP_FREE char *restore = memory_format("%s/pg_restore", dir);
  CLEANUP_FREE char *dump_version = NULL, *restore_version = NULL;
  int dump_major, restore_major;
  if (access(dump, X_OK) != 0 || access(restore, X_OK) != 0 || !tools_version(dump, &dump_major, &dump_version) ||
      !tools_version(restore, &restore_major, &restore_version))
    return TOOLS_ABSENT;
  *found_major = dump_major;
  if (dump_major != major || restore_major != major)
    return TOOLS_OTHER_MAJOR;
  *version = STEAL(dump_version);
  return TOOLS_FOUND;
}

/* Debian's /usr/bin/pg_dump is a wrapper that picks a version by the server it is pointed at: never the same twice. */
static bool tools_is_wrapper(const char *dir) {
  CLEANUP_FREE char *file = memory_format("%s/pg_dump", dir);
  CLEANUP_FREE char *real = realpath(file, NULL);
  const char *base = real ? strrchr(real, '/') : NULL;
  return base && strcmp(base, "/pg_wrapper") == 0;
}

static bool tools_in_path(int major, char **dir, char **version) {
  const char *path = getenv("PATH");
  while (path && *path) {
    size_t length = strcspn(path, ":");
    CLEANUP_FREE char *candidate = memory_strndup(path, length);
    int found_major;
    if (*candidate == '/' && !tools_is_wrapper(candidate) &&
        tools_try(candidate, major, version, &found_major) == TOOLS_FOUND) {
      *dir = STEAL(candidate);
      return true;
    }
    path += length + (path[length] == ':');
  }
  return false;
}

static Status tools_missing(int major, Error *err) {
  error_set(err, ERR_TOOLS_MISSING, "there are no pg_dump and pg_restore of PostgreSQL %d here", major);
  error_remedy(err, "Install postgresql-client-%d, or name the directory of its tools in `postgres.bin_dirs`.", major);
  error_object(err, "PostgreSQL %d", major);
  return err->status;
}

Status postgres_tools_find(const PostgresBinDir *dirs, size_t count, int major, char **dir, char **version,
                           Error *err) {
  for (size_t i = 0; i < count; i++) {
    if (dirs[i].major != major)
      continue;
    int found_major = 0;
    ToolsMatch match = tools_try(dirs[i].path, major, version, &found_major);
    if (match == TOOLS_FOUND) {
      *dir = memory_strdup(dirs[i].path);
      return STATUS_OK;
    }
    /* a directory that was named is not silently replaced by another */
    if (match == TOOLS_OTHER_MAJOR)
      error_set(err, ERR_VERSION_MISMATCH, "%s is named for PostgreSQL %d but holds the tools of PostgreSQL %d",
                dirs[i].path, major, found_major);
    else
      error_set(err, ERR_TOOLS_MISSING, "%s is named for PostgreSQL %d but holds no pg_dump and pg_restore that run",
                dirs[i].path, major);
    error_remedy(err, "Name a directory with the tools of PostgreSQL %d in `postgres.bin_dirs`.", major);
    error_object(err, "%s", dirs[i].path);
    return err->status;
  }
  CLEANUP_FREE char *debian = memory_format("/usr/lib/postgresql/%d/bin", major);
  int found_major;
  if (tools_try(debian, major, version, &found_major) == TOOLS_FOUND) {
    *dir = STEAL(debian);
    return STATUS_OK;
  }
  return tools_in_path(major, dir, version) ? STATUS_OK : tools_missing(major, err);
}
