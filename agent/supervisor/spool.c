#include "agent/supervisor/spool.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/bus/frame.h"

static const char SUFFIX[] = ".result";

static char *spool_path(const char *data_dir, const Pgseal__Result *result) {
  return memory_format("%s/spool/%s-%llu%s", data_dir, result->job_id, (unsigned long long)result->fencing, SUFFIX);
}

Status spool_put(const char *data_dir, const Pgseal__Result *result, Error *err) {
  CLEANUP_FREE char *path = spool_path(data_dir, result);
  size_t size = pgseal__result__get_packed_size(result);
  CLEANUP_FREE uint8_t *packed = memory_alloc(size + 1);
  pgseal__result__pack(result, packed);
  return file_write_atomic(path, 0600, packed, size, err);
}

void spool_remove(const char *data_dir, const Pgseal__Result *result) {
  CLEANUP_FREE char *path = spool_path(data_dir, result);
  unlink(path);
}

static void load(const char *path, void (*visit)(void *user, Pgseal__Result *result), void *user) {
  CLEANUP(buffer_release) Buffer bytes = {0};
  Error err;
  if (file_read(path, FRAME_LIMIT, &bytes, &err) != STATUS_OK) {
    log_failure(LOG_LEVEL_WARN, "a spooled result cannot be read", &err);
    return;
  }
  Pgseal__Result *result = pgseal__result__unpack(NULL, bytes.size, bytes.data);
  if (!result || !result->result || !id_valid(result->job_id)) {
    log_warn("a spooled result is damaged and is left where it is", "path", path, NULL);
    if (result)
      pgseal__result__free_unpacked(result, NULL);
    return;
  }
  visit(user, result);
}

Status spool_list(const char *data_dir, void (*visit)(void *user, Pgseal__Result *result), void *user, Error *err) {
  CLEANUP_FREE char *directory = memory_format("%s/spool", data_dir);
  DIR *dir = opendir(directory);
  if (!dir)
    return error_set_errno(err, errno, "cannot list %s", directory);
  for (struct dirent *entry; (entry = readdir(dir));) {
    size_t length = strlen(entry->d_name), suffix = sizeof SUFFIX - 1;
    if (length <= suffix || strcmp(entry->d_name + length - suffix, SUFFIX) != 0)
      continue;
    CLEANUP_FREE char *path = memory_format("%s/%s", directory, entry->d_name);
    load(path, visit, user);
  }
  closedir(dir);
  return STATUS_OK;
}
