#include "agent/jobs/result.h"

#include <stdlib.h>

#include "common/base/memory.h"

void job_result_set_error(Pgseal__JobResult *result, const Error *err) {
  switch (error_outcome(err->status)) {
  case OUTCOME_FAILED:
    result->outcome = PGSEAL__JOB_RESULT__OUTCOME__FAILED;
    break;
  case OUTCOME_CANCELED:
    result->outcome = PGSEAL__JOB_RESULT__OUTCOME__CANCELED;
    break;
  default:
    result->outcome = PGSEAL__JOB_RESULT__OUTCOME__ERRORED;
  }
  if (!result->error) {
    result->error = memory_alloc(sizeof *result->error);
    pgseal__failure__init(result->error);
  }
  result->error->code = memory_strdup(error_code(err->status));
  result->error->message = memory_strdup(err->message);
  result->error->remedy = memory_strdup(err->remedy);
  result->error->object = memory_strdup(err->object);
}
