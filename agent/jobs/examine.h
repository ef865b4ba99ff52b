/* What a dump of a database would find before it begins, for whoever wants to know it beforehand. Blocking. */
#ifndef PGSEAL_AGENT_JOBS_EXAMINE_H
#define PGSEAL_AGENT_JOBS_EXAMINE_H

#include "agent/config.h"

typedef struct DumpExamination { /* what was learnt, until whatever went wrong; zero and NULL what was not */
  int major;
  char *server_version, *dump_version, *role; /* owned */
  bool superuser;
  int64_t bytes;     /* of the database, as the server has it on disk */
  int64_t server_us; /* its clock */
  size_t tables;     /* tables and sequences that would be dumped */
} DumpExamination;

/* Connects, finds the tools, lists what would be dumped and whether this role may read all of it. Fails as the dump
 * would: ERR_DATABASE_UNREACHABLE, ERR_TOOLS_MISSING, ERR_TABLE_UNREADABLE, ERR_ROW_SECURITY, ... */
Status dump_examine(const AgentConfig *config, const AgentDatabase *database, DumpExamination *out,
                    Error *err) MUST_CHECK;
void dump_examination_release(DumpExamination *examination);

#endif
