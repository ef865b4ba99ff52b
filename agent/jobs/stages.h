/*
 * How long the stages of a job took, and when each began: what the coordinator is told with the result, draws, and
 * makes traces of. By the monotonic clock, from when the job's child began with it. Stages may overlap. Not for two
 * threads.
 */
#ifndef PGSEAL_AGENT_JOBS_STAGES_H
#define PGSEAL_AGENT_JOBS_STAGES_H

#include <jansson.h>
#include <stdint.h>

enum { STAGES_LIMIT = 8 };

typedef struct Stages {
  int64_t job_us;                                         /* monotonic, as all here: when the job began */
  int64_t begun_us[STAGES_LIMIT], ended_us[STAGES_LIMIT]; /* 0: not (yet) */
} Stages;

void stages_open(Stages *stages); /* now the job begins */
void stages_begin(Stages *stages, size_t stage);
void stages_end(Stages *stages, size_t stage); /* one that did not begin, or ended: nothing */
void stages_reset(Stages *stages);             /* the job starts over: what was is forgotten, but for when it began */

/* {name: seconds that it took}, of all `count` stages; 0 of those that were not ended. New reference. */
json_t *stages_seconds(const Stages *stages, const char *const *names, size_t count);
/* The result's stages_json and stages_begun_json ({name: seconds since the job began}, of those that were ended).
 * Allocated with malloc. */
void stages_tell(const Stages *stages, const char *const *names, size_t count, char **seconds, char **begun);

#endif
