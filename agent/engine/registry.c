#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/engine/backend.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { REGISTRY_NOTE_LIMIT = 16384 };

static const char note_suffix[] = ".json", link_suffix[] = ".s";

static void registry_close_dir(DIR **dir) {
  if (*dir)
    closedir(*dir);
}

/* Anybody may write to /tmp: the directory must be ours and closed to others. */
static Status registry_directory(char **out, Error *err) {
  CLEANUP_FREE char *path = memory_format("/tmp/pgseal-%u", (unsigned)geteuid());
  if (mkdir(path, 0700) != 0 && errno != EEXIST)
    return error_set_errno(err, errno, "cannot make %s", path);
  struct stat info;
  if (lstat(path, &info) != 0)
    return error_set_errno(err, errno, "cannot look at %s", path);
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 077) != 0) {
    error_set(err, ERR_IO, "%s is not a private directory of this user", path);
    error_remedy(err, "Find out who made %s, and remove it.", path);
    error_object(err, "%s", path);
    return err->status;
  }
  *out = STEAL(path);
  return STATUS_OK;
}

static Status registry_path(const char *job_id, const char *suffix, char **out, Error *err) {
  if (!text_name_valid(job_id))
    return error_set(err, ERR_INTERNAL, "a job's id cannot be a file name");
  CLEANUP_FREE char *directory = NULL;
  Status status = registry_directory(&directory, err);
  if (status == STATUS_OK)
    *out = memory_format("%s/%s%s", directory, job_id, suffix);
  return status;
}

Status registry_link(const char *job_id, const char *target, char **path, Error *err) {
  CLEANUP_FREE char *link = NULL;
  Status status = registry_path(job_id, link_suffix, &link, err);
  if (status != STATUS_OK)
    return status;
  if (unlink(link) != 0 && errno != ENOENT)
    return error_set_errno(err, errno, "cannot remove %s", link);
  if (symlink(target, link) != 0)
    return error_set_errno(err, errno, "cannot make %s", link);
  *path = STEAL(link);
  return STATUS_OK;
}

Status registry_write(const RegistryNote *note, Error *err) {
  CLEANUP_FREE char *path = NULL;
  Status status = registry_path(note->job_id, note_suffix, &path, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(json_decrefp)
  json_t *json = json_pack("{s:s, s:s, s:I, s:I}", "agent", note->agent, "directory", note->directory, "pid",
                           (json_int_t)note->pid, "start", (json_int_t)note->start);
  CLEANUP_FREE char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
  if (!text)
    return error_set(err, ERR_INTERNAL, "cannot write the note of cluster %s", note->directory);
  return file_write_atomic(path, 0600, text, strlen(text), err);
}

void registry_remove(const char *job_id) {
  Error ignored;
  CLEANUP_FREE char *note = NULL, *link = NULL;
  if (registry_path(job_id, note_suffix, &note, &ignored) == STATUS_OK)
    (void)unlink(note);
  if (registry_path(job_id, link_suffix, &link, &ignored) == STATUS_OK)
    (void)unlink(link);
}

/* One note of the directory; what cannot be read is none of ours. */
static void registry_visit(const char *path, const char *job_id, const char *agent,
                           void (*visit)(void *user, const RegistryNote *note), void *user) {
  Error ignored;
  CLEANUP(buffer_release) Buffer content = {0};
  if (file_read(path, REGISTRY_NOTE_LIMIT, &content, &ignored) != STATUS_OK)
    return;
  CLEANUP(json_decrefp) json_t *json = json_loadb((const char *)content.data, content.size, 0, NULL);
  const char *owner, *directory;
  json_int_t pid, start;
  if (!json || json_unpack(json, "{s:s, s:s, s:I, s:I}", "agent", &owner, "directory", &directory, "pid", &pid, "start",
                           &start) != 0)
    return;
  if (strcmp(owner, agent) != 0 || *directory != '/')
    return;
  CLEANUP_FREE char *job_copy = memory_strdup(job_id), *owner_copy = memory_strdup(owner),
                    *directory_copy = memory_strdup(directory);
  RegistryNote note = {job_copy, owner_copy, directory_copy, (pid_t)pid, start};
  visit(user, &note);
  registry_remove(job_id);
}

static bool registry_dangles(const char *path) {
  struct stat info;
  return stat(path, &info) != 0 && errno == ENOENT;
}

static char *registry_stem(const char *name, const char *suffix) {
  size_t length = strlen(name), tail = strlen(suffix);
  if (length <= tail || strcmp(name + length - tail, suffix) != 0)
    return NULL;
  return memory_strndup(name, length - tail);
}

Status registry_reap(const char *agent, const char *job_id, void (*visit)(void *user, const RegistryNote *note),
                     void *user, Error *err) {
  CLEANUP_FREE char *directory = NULL;
  Status status = registry_directory(&directory, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(registry_close_dir) DIR *dir = opendir(directory);
  if (!dir)
    return error_set_errno(err, errno, "cannot list %s", directory);
  for (struct dirent *entry; (entry = readdir(dir));) {
    CLEANUP_FREE char *path = memory_format("%s/%s", directory, entry->d_name);
    CLEANUP_FREE char *note = registry_stem(entry->d_name, note_suffix);
    CLEANUP_FREE char *link = registry_stem(entry->d_name, link_suffix);
    if (note && (!job_id || strcmp(note, job_id) == 0))
      registry_visit(path, note, agent, visit, user);
    else if (link && ((job_id && strcmp(link, job_id) == 0) || registry_dangles(path)))
      (void)unlink(path);
  }
  return STATUS_OK;
}

int64_t registry_start_time(pid_t pid) {
  Error ignored;
  CLEANUP(buffer_release) Buffer stat_text = {0};
  CLEANUP_FREE char *path = memory_format("/proc/%d/stat", (int)pid);
  if (pid <= 0 || file_read(path, REGISTRY_NOTE_LIMIT, &stat_text, &ignored) != STATUS_OK)
    return -1;
  /* field 22, counted from behind the name, which may hold anything (proc(5)) */
  const char *at = strrchr(buffer_text(&stat_text), ')');
  for (int field = 2; at && field < 22; field++)
    at = strchr(at + 1, ' ');
  return at ? strtoll(at + 1, NULL, 10) : -1;
}
