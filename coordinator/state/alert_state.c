#include "coordinator/state/state.h"

#include <string.h>

#include "common/base/cleanup.h"

const AlertTransition alert_transitions[] = {
    {ALERT_PENDING, ALERT_EVENT_RIPE, ALERT_FIRING},
    {ALERT_PENDING, ALERT_EVENT_OVER, ALERT_RESOLVED},
    {ALERT_FIRING, ALERT_EVENT_OVER, ALERT_RESOLVED},
    {ALERT_RESOLVED, ALERT_EVENT_HOLDS, ALERT_PENDING},
};
const size_t alert_transition_count = ARRAY_SIZE(alert_transitions);

const NotificationTransition notification_transitions[] = {
    {NOTIFICATION_DUE, NOTIFICATION_EVENT_ACCEPTED, NOTIFICATION_SENT},
    {NOTIFICATION_DUE, NOTIFICATION_EVENT_RETRY, NOTIFICATION_DUE},
    {NOTIFICATION_DUE, NOTIFICATION_EVENT_GIVE_UP, NOTIFICATION_FAILED},
};
const size_t notification_transition_count = ARRAY_SIZE(notification_transitions);

static const char *const alert_names[ALERT_STATE_COUNT] = {
    [ALERT_PENDING] = "pending", [ALERT_FIRING] = "firing", [ALERT_RESOLVED] = "resolved"};
static const char *const notification_names[NOTIFICATION_STATE_COUNT] = {
    [NOTIFICATION_DUE] = "due", [NOTIFICATION_SENT] = "sent", [NOTIFICATION_FAILED] = "failed"};

bool alert_walk(AlertState *state, AlertEvent event) {
  for (size_t i = 0; i < alert_transition_count; i++) {
    if (alert_transitions[i].from == *state && alert_transitions[i].event == event) {
      *state = alert_transitions[i].to;
      return true;
    }
  }
  return false;
}

bool notification_walk(NotificationState *state, NotificationEvent event) {
  for (size_t i = 0; i < notification_transition_count; i++) {
    if (notification_transitions[i].from == *state && notification_transitions[i].event == event) {
      *state = notification_transitions[i].to;
      return true;
    }
  }
  return false;
}

static const char *name_of(const char *const *names, int count, unsigned state) {
  return state < (unsigned)count ? names[state] : "unknown";
}

static int number_of(const char *const *names, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0)
      return i;
  return -1;
}

const char *alert_state_name(AlertState state) {
  return name_of(alert_names, ALERT_STATE_COUNT, (unsigned)state);
}

bool alert_state_from_name(const char *name, AlertState *state) {
  int number = number_of(alert_names, ALERT_STATE_COUNT, name);
  if (number >= 0)
    *state = (AlertState)number;
  return number >= 0;
}

const char *notification_state_name(NotificationState state) {
  return name_of(notification_names, NOTIFICATION_STATE_COUNT, (unsigned)state);
}

bool notification_state_from_name(const char *name, NotificationState *state) {
  int number = number_of(notification_names, NOTIFICATION_STATE_COUNT, name);
  if (number >= 0)
    *state = (NotificationState)number;
  return number >= 0;
}
