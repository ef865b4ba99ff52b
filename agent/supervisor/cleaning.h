/* What is done behind a job: containers and clusters reaped, scratch removed. Internal to agent/supervisor; blocking.
 */
#ifndef PGSEAL_AGENT_SUPERVISOR_CLEANING_H
#define PGSEAL_AGENT_SUPERVISOR_CLEANING_H

#include "agent/config.h"

/* job_id NULL: of every job this agent ever had. Failures are logged: the next start tries again. Any thread. */
void cleaning_run(const AgentConfig *config, const char *job_id);

#endif
