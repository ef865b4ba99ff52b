#include "agent/jobs/kind.h"

const char *job_kind_name(Pgseal__JobKind kind) {
  switch (kind) {
  case PGSEAL__JOB_KIND__JOB_KIND_DUMP:
    return "dump";
  case PGSEAL__JOB_KIND__JOB_KIND_DRILL:
    return "drill";
  case PGSEAL__JOB_KIND__JOB_KIND_PLAN:
    return "plan";
  case PGSEAL__JOB_KIND__JOB_KIND_RESTORE:
    return "restore";
  case PGSEAL__JOB_KIND__JOB_KIND_PRUNE:
    return "prune";
  case PGSEAL__JOB_KIND__JOB_KIND_REHEARSE:
    return "rehearse";
  case PGSEAL__JOB_KIND__JOB_KIND_INVENTORY:
    return "inventory";
  case PGSEAL__JOB_KIND__JOB_KIND_TRIAL:
    return "trial";
  default:
    return "job";
  }
}
