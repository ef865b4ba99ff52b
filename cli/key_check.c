/* pgseal key check: does the key in the safe really open the newest checkpoint? Asked on a quiet day. */
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/http.h"
#include "cli/stored.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* The id of the newest sealed checkpoint (of a database). */
static Status newest_sealed(Cli *cli, const char *database, char **id, Error *err) {
  CLEANUP(api_release) json_t *json = NULL;
  CLEANUP_FREE char *escaped = http_escape(database ? database : "");
  Status status =
      api_get(cli, &json, err, "/api/v1/checkpoints?limit=1&state=sealed%s%s", database ? "&database=" : "", escaped);
  if (status != STATUS_OK)
    return status;
  const char *found = api_text(json_array_get(json_object_get(json, "checkpoints"), 0), "id");
  if (!*found) {
    error_set(err, ERR_NOT_FOUND, "there is no sealed checkpoint%s%s yet", database ? " of " : "",
              database ? database : "");
    error_remedy(err, "Take one: pgseal checkpoint DATABASE --tag TAG.");
    return err->status;
  }
  *id = memory_strdup(found);
  return STATUS_OK;
}

static Status open_one(const Stored *stored, char *key, const ManifestSegment *segment, Error *err) {
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP_FREE char *owned = key;
  return stored_segment(stored, owned, segment, &plain, err);
}

/* Manifest, roles, first and last segment: enough to know that this key opens what is stored. */
static Status open_some(Cli *cli, Stored *stored, Error *err) {
  Status status = stored_open(cli, stored, err);
  if (status == STATUS_OK)
    status = stored_manifest(stored, err);
  const Manifest *m = &stored->manifest;
  if (status == STATUS_OK && m->has_roles)
    status = open_one(stored, manifest_roles_key(stored->prefix), &m->roles, err);
  if (status == STATUS_OK && m->segment_count > 0)
    status = open_one(stored, manifest_segment_key(stored->prefix, 0), &m->segments[0], err);
  if (status == STATUS_OK && m->segment_count > 1)
    status = open_one(stored, manifest_segment_key(stored->prefix, m->segment_count - 1),
                      &m->segments[m->segment_count - 1], err);
  return status;
}

ExitCode command_key_check(Cli *cli, int argc, char **argv) {
  CLEANUP(stored_release) Stored stored = {0};
  CLEANUP_FREE char *newest = NULL;
  const Option options[] = {STORED_OPTIONS(stored)};
  ExitCode code;
  Error err;
  if (!cli_parse(cli, options, ARRAY_SIZE(options), true, argc, argv, 0, 1, &stored.which, &code))
    return code;
  if (stored.which && stored.prefix_path)
    return cli_usage(cli, "name the checkpoint by ID or TAG, or by --prefix, or leave it out for the newest");
  if (!stored_wanted(cli, &stored, &code))
    return code;
  if (!stored.which && !stored.alone) {
    if (newest_sealed(cli, stored.database, &newest, &err) != STATUS_OK)
      return cli_fail(cli, &err);
    stored.which = newest;
  }
  if (open_some(cli, &stored, &err) != STATUS_OK)
    return cli_fail(cli, &err);
  char tag[256];
  if (cli->json) {
    json_t *json = json_pack("{s:b, s:s, s:s}", "ok", 1, "checkpoint", stored.manifest.checkpoint_id, "tag",
                             text_clean(stored.manifest.tag, tag, sizeof tag));
    cli_print_json(json);
    json_decref(json);
  } else {
    printf("%s opens checkpoint %s of %s (tag %s): manifest%s, first and last segment decrypt to what was signed.\n",
           stored.key_path, stored.manifest.checkpoint_id, stored.manifest.database,
           text_clean(stored.manifest.tag, tag, sizeof tag), stored.manifest.has_roles ? ", roles" : "");
  }
  return EXIT_DONE;
}
