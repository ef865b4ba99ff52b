/* Filling a JobResult from an error: in the job child, and in the supervisor when a child ended without a result. */
#ifndef PGSEAL_AGENT_JOBS_RESULT_H
#define PGSEAL_AGENT_JOBS_RESULT_H

#include "common/base/error.h"
#include "proto/pgseal.pb-c.h"

/* Sets outcome (by error_outcome) and error. Members are allocated as protobuf-c frees them; any thread. */
void job_result_set_error(Pgseal__JobResult *result, const Error *err);

#endif
