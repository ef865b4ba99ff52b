/* Mail that is of no alert: who wrote it is asked for what it says. */
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/alerts/internal.h"

bool letter_is(const LedgerNotification *row) {
  const char *event = json_string_value(json_object_get(json_array_get(row->alerts, 0), "event"));
  return event && strcmp(event, "report") == 0;
}

bool letter_bare(LedgerNotification *row) {
  json_t *item = json_array_get(row->alerts, 0);
  if (json_is_true(json_object_get(item, "bare")))
    return false;
  json_object_set_new(item, "bare", json_true());
  return true;
}

Status letter_make(Alerts *alerts, const LedgerNotification *row, const AlertRoute *route, Delivery **out, Error *err) {
  char *body = NULL;
  size_t size = 0;
  *out = NULL;
  if (!alerts->letters.body)
    return error_set(err, ERR_UNAVAILABLE, "this coordinator writes no letters");
  Status status = alerts->letters.body(alerts->letters.user, row, &body, &size, err);
  if (status != STATUS_OK || !body)
    return status;
  return delivery_letter(route, row->id, body, size, out, err);
}

Status letter_over(Alerts *alerts, const LedgerNotification *row, Error *err) {
  return letter_is(row) && alerts->letters.over ? alerts->letters.over(alerts->letters.user, row, err) : STATUS_OK;
}

void alerts_letters(Alerts *alerts, const AlertsLetters *letters) {
  alerts->letters = *letters;
}

void alerts_letter_made(Alerts *alerts) {
  if (!alerts->stopped)
    alerts_go_on(alerts);
}

Status alerts_post(Alerts *alerts, const char *route, json_t *item, bool waited_for,
                   Status (*also)(void *user, Ledger *ledger, Error *err), void *user, char **id, Error *err) {
  CLEANUP_FREE char *fresh = NULL;
  Status status = ledger_begin(alerts->ledger, err);
  if (status == STATUS_OK)
    status =
        outbox_letter(alerts, route, json_incref(item), waited_for, dispatch_wall_us(alerts->dispatch), &fresh, err);
  if (status == STATUS_OK && also)
    status = also(user, alerts->ledger, err);
  if (status == STATUS_OK)
    status = ledger_commit(alerts->ledger, err);
  json_decref(item);
  if (status != STATUS_OK) {
    ledger_rollback(alerts->ledger);
    outbox_forget(alerts);
    return status;
  }
  if (id)
    *id = STEAL(fresh);
  alerts_letter_made(alerts);
  return STATUS_OK;
}
