#include "common/base/program.h"

#include <libgen.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/base/memory.h"

enum { PROGRAM_PATH_SIZE = 4096 };

char *program_path(const char *name) {
  char self[PROGRAM_PATH_SIZE];
  ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length > 0) {
    self[length] = '\0';
    char *beside = memory_format("%s/%s", dirname(self), name);
    if (access(beside, X_OK) == 0)
      return beside;
    free(beside);
  }
  return memory_strdup(name);
}
