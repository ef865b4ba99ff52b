/* The child's end of the pipes to its agent. Used by job*.c alone. */
#ifndef PGSEAL_AGENT_JOBS_CHANNEL_H
#define PGSEAL_AGENT_JOBS_CHANNEL_H

#include "agent/jobs/job.h"

typedef struct JobChannel {
  int in, out;
  pthread_mutex_t lock; /* over all that follows but out_lock */
  pthread_cond_t changed;
  Pgseal__Follow *follow; /* the last one, or NULL */
  uint64_t serial;        /* raised with each */
  bool canceled;
  int64_t deadline_us; /* monotonic */
  const char *kind;    /* by job_kind_name */
  uint32_t budget_seconds;
  char database[64];
  int64_t next_progress_us;
  /* a rehearsal's frames of its client that were not taken yet */
  int tunnel_fd; /* an eventfd; 0: they are not kept */
  Pgseal__TunnelFrame **frames;
  size_t frame_count, frame_bytes;
  bool flooded; /* more than a client may send */
  pthread_mutex_t out_lock;
} JobChannel;

/* Reads the Start frame. *job is freed by the caller with pgseal__job__free_unpacked. */
Status job_channel_open(JobChannel *channel, int in, int out, Pgseal__Job **job, Error *err) MUST_CHECK;
/* Starts the reader thread, which ends the process at the end of `in`: *channel must live as long as the process. */
Status job_channel_listen(JobChannel *channel, Error *err) MUST_CHECK;
/* Any thread. Blocks while the agent does not read. */
Status job_channel_send(JobChannel *channel, const Pgseal__JobMessage *message, Error *err) MUST_CHECK;

#endif
