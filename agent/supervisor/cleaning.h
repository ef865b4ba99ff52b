/* What is done behind a job: containers and clusters reaped, scratch removed. Internal to agent/supervisor; blocking.
 */
#ifndef PGSEAL_AGENT_SUPERVISOR_CLEANING_H
#define PGSEAL_AGENT_SUPERVISOR_CLEANING_H

#include "agent/config.h"

enum {
  CLEANING_DRILL = 1, /* there may be a disposable PostgreSQL */
  CLEANING_TWICE = 2  /* the job was cut off: an engine may still be making the container it was asked for, so look
                         again after some seconds */
};

/* job_id NULL: of every job this agent ever had. Failures are logged: the next start tries again. Any thread, several
 * at once: each opens an engine of its own. */
void cleaning_run(const AgentConfig *config, const char *job_id, int flags);

#endif
