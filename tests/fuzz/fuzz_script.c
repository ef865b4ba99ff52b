/* SQL scripts: any bytes are taken apart to their end, into pieces that follow each other; outlines keep their limit.
 * A checkpoint's roles are such a script, too. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/archive/roles.h"
#include "common/archive/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  Script script;
  script_open(&script, (const char *)data, size);
  const char *behind = (const char *)data;
  int line = 1;
  for (ScriptPiece piece; (piece = script_next(&script)) != SCRIPT_END;) {
    if (script.piece < behind || script.size == 0 || script.piece + script.size > (const char *)data + size ||
        script.line < line)
      abort();
    behind = script.piece + script.size;
    line = script.line;
    char *outline = script_outline(script.piece, script.size, 50);
    if (strlen(outline) > 50)
      abort();
    free(outline);
    (void)script_copies_inline(script.piece, script.size);
  }
  if (script.at != (const char *)data + size)
    abort();
  RoleList roles = {0};
  roles_parse((const char *)data, size, &roles);
  roles_release(&roles);
  return 0;
}
