/* Images that policies ask for, and agents that drill in them. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "coordinator/dispatch/internal.h"

enum { IMAGES_MAX = 64, PATTERN_LENGTH = 200, PATTERN_STARS = 4 };

static void release(AgentImages *images) {
  for (size_t i = 0; i < images->count; i++)
    free(images->patterns[i]);
  free(images->patterns);
  *images = (AgentImages){0};
}

void images_close(Dispatch *dispatch) {
  for (size_t i = 0; i < dispatch->seen_count; i++)
    release(&dispatch->images[i]);
  free(dispatch->images);
}

/* More stars, or longer, would make it slow to match with all the names there are. */
static bool is_pattern(const char *text) {
  size_t stars = 0;
  for (const char *at = text; *at; at++)
    stars += *at == '*';
  return *text && strlen(text) <= PATTERN_LENGTH && stars <= PATTERN_STARS && !strpbrk(text, "[]\\");
}

void images_told(AgentImages *images, Pgseal__Tool *const *tools, size_t count) {
  static const char *const names[] = {"image-", "allowed-image-"};
  release(images);
  images->told = true;
  for (size_t i = 0; i < count && images->count < IMAGES_MAX; i++)
    for (size_t n = 0; n < ARRAY_SIZE(names); n++)
      if (strncmp(tools[i]->name, names[n], strlen(names[n])) == 0 && is_pattern(tools[i]->version))
        ARRAY_PUSH(images->patterns, images->count, memory_strdup(tools[i]->version));
}

const char *image_of_job(const Dispatch *dispatch, const LedgerJob *job) {
  bool drills = job->kind == LEDGER_JOB_DRILL || job->kind == LEDGER_JOB_REHEARSE || job->kind == LEDGER_JOB_TRIAL;
  const FleetDatabase *database = drills ? fleet_database(dispatch->fleet, job->database) : NULL;
  if (!database || !database->policy.drill_image || trial_forward_major(job) != 0)
    return "";
  return database->policy.drill_image;
}

static bool has_image(const AgentImages *images, const char *image) {
  for (size_t i = 0; i < images->count; i++)
    if (text_glob(images->patterns[i], image))
      return true;
  return false;
}

/* Of an agent that another coordinator is in touch with nothing is known: that one decides. */
bool image_suits(const Dispatch *dispatch, const ConfigAgent *agent, const LedgerJob *job) {
  const char *image = image_of_job(dispatch, job);
  const Agent *known = *image ? agents_find(dispatch->agents, agent->name) : NULL;
  if (!known || known->index >= dispatch->seen_count || !dispatch->images[known->index].told)
    return true;
  return has_image(&dispatch->images[known->index], image);
}

static bool offered(Dispatch *dispatch, const FleetDatabase *database) {
  for (size_t i = 0; i < agents_count(dispatch->agents); i++) {
    const Agent *agent = agents_at(dispatch->agents, i);
    if (agent_can(&agent->who, LEDGER_JOB_DRILL, database->config.name) && agent->index < dispatch->seen_count &&
        dispatch_agent_live(dispatch, agent->who.name) &&
        (!dispatch->images[agent->index].told ||
         has_image(&dispatch->images[agent->index], database->policy.drill_image)))
      return true;
  }
  return false;
}

/* One note for each image, about the first database that nobody drills in it. */
void images_note(Dispatch *dispatch, const Fleet *fleet, json_t *notes) {
  CLEANUP_FREE const char **noted = NULL;
  size_t noted_count = 0;
  for (size_t i = 0; i < fleet_count(fleet) && json_array_size(notes) < FLEET_NOTES_LIMIT; i++) {
    const FleetDatabase *database = fleet_at(fleet, i);
    const char *image = database->policy.drill_image;
    size_t at = 0;
    while (at < noted_count && noted[at] != image)
      at++;
    if (!image || at < noted_count || offered(dispatch, database))
      continue;
    ARRAY_PUSH(noted, noted_count, image);
    CLEANUP_FREE char *message =
        memory_format("drill.image of database %s is %s, which no agent that is there and drills it offers",
                      database->config.name, image);
    json_array_append_new(notes,
                          json_pack("{s:i, s:s}", "line", fleet_image_line(fleet, database), "message", message));
  }
}
