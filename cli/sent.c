#include "cli/sent.h"

#include <inttypes.h>
#include <string.h>

#include "cli/api.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"

/* ": it answered 202 after 41 ms"; of one that did not get there the error has the answer. */
static void append_answer(Buffer *out, const json_t *sent, bool fine) {
  const json_t *answer = json_object_get(sent, "answer");
  int64_t code = api_integer(answer, "code"), ms = api_integer(answer, "milliseconds");
  if (!json_is_object(answer)) /* of an older coordinator, or it was never tried */
    return;
  buffer_append_text(out, fine && code > 0 ? ": it answered " : fine ? ":" : " (");
  if (fine && code > 0)
    buffer_append_format(out, "%" PRId64, code);
  buffer_append_text(out, fine ? " after " : "after ");
  if (ms < 1000)
    buffer_append_format(out, "%" PRId64 " ms", ms);
  else
    buffer_append_format(out, "%.1f s", (double)ms / 1000);
  buffer_append_text(out, fine ? "" : ")");
}

ExitCode sent_tell(Cli *cli, const json_t *sent, const char *what, const char *remedy) {
  bool fine = strcmp(api_text(sent, "state"), "sent") == 0;
  CLEANUP(buffer_release) Buffer answer = {0};
  Error err;
  if (cli->json) {
    cli_print_json(sent);
    return fine ? EXIT_DONE : EXIT_ERRORED;
  }
  append_answer(&answer, sent, fine);
  const char *told = answer.size ? buffer_text(&answer) : "";
  if (fine) {
    printf("The receiver of %s has %s, message %s%s.\n", api_text(sent, "route"), what, api_text(sent, "id"), told);
    return EXIT_DONE;
  }
  error_set(&err, ERR_UNAVAILABLE, "%s did not get there by route %s: %s%s", what, api_text(sent, "route"),
            api_text(sent, "error"), told);
  error_remedy(&err, "%s", remedy);
  (void)cli_fail(cli, &err);
  return EXIT_ERRORED;
}
