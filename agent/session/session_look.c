/* What guards the repository, looked at before the agent joins and then once a day, or soon again where it was away;
 * the coordinator is told when it joins. A bucket's server may take its time: that is a thread of its own. */
#include "agent/session/internal.h"

#include <stdlib.h>

#include "agent/session/look.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { LOOK_WAIT_US = 10 * 1000 * 1000 }; /* then it joins without */
#define LOOK_EVERY_US ((int64_t)86400 * 1000000)
#define LOOK_AGAIN_US ((int64_t)600 * 1000000) /* at one that was away */

struct Look {
  uv_work_t work;
  Session *session; /* NULL: it ended meanwhile */
  const AgentConfig *config;
  RepositoryLook found;
};

/* Whoever only prunes, or only restores, stores nothing that could be guarded. */
static bool stores(const AgentConfig *config) {
  return config->can_dump || config->can_drill;
}

static bool take(Session *session, const RepositoryLook *found) {
  bool news = agent_tools_set(&session->tools, "repository", found->kind);
  news |= agent_tools_set(&session->tools, "repository-lock", found->lock);
  news |= agent_tools_set(&session->tools, "repository-removes", found->removes);
  return news;
}

static void on_work(uv_work_t *work) {
  Look *look = work->data;
  repository_look(look->config, &look->found);
}

static void on_looked(uv_work_t *work, int status) {
  Look *look = work->data;
  Session *session = look->session;
  if (session) {
    session->look = NULL;
    if (status != 0 || look->found.away)
      session->next_look_us = clock_monotonic_us() + LOOK_AGAIN_US;
    /* what was known of one that is away now stays as it was */
    bool fresh = status == 0 && !(look->found.away && session->looked_at);
    bool news = fresh && take(session, &look->found);
    session->looked_at |= fresh && !look->found.away;
    log_debug("looked at the repository", "lock", look->found.lock, "removes", look->found.removes, NULL);
    if (news && session->state == SESSION_JOINED)
      session->state = SESSION_JOINING; /* that is how it tells who it is, and what it has */
  }
  free(look);
}

void session_look(Session *session) {
  int64_t now_us = clock_monotonic_us();
  if (session->look || now_us < session->next_look_us || !stores(session->config) || session->state == SESSION_STOPPING)
    return;
  if (session->next_look_us == 0)
    session->look_until_us = now_us + LOOK_WAIT_US;
  session->next_look_us = now_us + LOOK_EVERY_US;
  Look *look = memory_alloc(sizeof *look);
  *look = (Look){.session = session, .config = session->config};
  look->work.data = look;
  if (session->config->repository_directory) { /* there is nobody to ask */
    repository_look(session->config, &look->found);
    on_looked(&look->work, 0);
    return;
  }
  session->look = look;
  if (uv_queue_work(session->loop, &look->work, on_work, on_looked) != 0)
    on_looked(&look->work, UV_ENOMEM);
}

bool session_looks(const Session *session) {
  return session->look && clock_monotonic_us() < session->look_until_us;
}

void session_look_end(Session *session) {
  if (session->look)
    session->look->session = NULL;
  session->look = NULL;
}
