/* The Supervisor itself. Internal to agent/supervisor. */
#ifndef PGSEAL_AGENT_SUPERVISOR_INTERNAL_H
#define PGSEAL_AGENT_SUPERVISOR_INTERNAL_H

#include "agent/supervisor/task.h"

struct Supervisor {
  uv_loop_t *loop;
  const AgentConfig *config;
  SupervisorEvents events;
  Task *tasks;
  uv_timer_t timer; /* looks for tasks that are to be killed */
  int lock_fd;
};

#endif
