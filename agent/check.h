/* `pgseal-agent check`: says of everything the configuration names whether it is there and works. */
#ifndef PGSEAL_AGENT_CHECK_H
#define PGSEAL_AGENT_CHECK_H

/* Prints a line for each thing; returns the exit code: 0 all well, 1 something is wrong, 2 the configuration is. */
int agent_check(const char *config_path);

#endif
