/* Parts of the directory backend. Internal to common/repository. Any thread; `root` is an open directory. */
#ifndef PGSEAL_COMMON_REPOSITORY_DIRECTORY_H
#define PGSEAL_COMMON_REPOSITORY_DIRECTORY_H

#include <dirent.h>

#include "common/repository/repository.h"

/* A stream over a directory, symbolic links refused; NULL with errno. `parent` stays the caller's. */
DIR *directory_open_stream(int parent, const char *name);
void directory_close_stream(DIR **stream);

/* As repository_list. */
Status directory_list_keys(int root, const char *prefix, const char *after, RepositoryVisit *visit, void *user,
                           Error *err) MUST_CHECK;

#endif
