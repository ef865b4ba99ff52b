/* What an agent has: client tools of which majors, images, engine; told to the coordinator when it joins. */
#ifndef PGSEAL_AGENT_SESSION_TOOLS_H
#define PGSEAL_AGENT_SESSION_TOOLS_H

#include "agent/config.h"

enum { TOOLS_LIMIT = 64 };

typedef struct AgentTool {
  char *name, *version; /* "pg_dump-17", "17.6" */
} AgentTool;

typedef struct AgentTools {
  AgentTool items[TOOLS_LIMIT];
  size_t count;
} AgentTools;

/* Runs each major's pg_dump --version once: blocks for some milliseconds; at the start only. */
void agent_tools_find(const AgentConfig *config, AgentTools *tools);
bool agent_tools_inner(const char *name); /* what coordinators want to know, and people do not */
/* Instead of what it had by that name. False: it is what it had. */
bool agent_tools_set(AgentTools *tools, const char *name, const char *version);
void agent_tools_release(AgentTools *tools);

#endif
