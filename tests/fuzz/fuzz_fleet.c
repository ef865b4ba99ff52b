/* fleet.yaml: any bytes are taken or refused, without a leak; what is taken is within its ranges, differs from itself
 * in nothing, and its schedules go on. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/fleet/fleet.h"
#include "coordinator/schedule/cron.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_schedule(const FleetSchedule *schedule) {
  Cron cron;
  Zone *zone = NULL;
  Error err;
  if (!schedule->cron)
    return;
  if (cron_parse(schedule->cron, &cron, &err) != STATUS_OK || zone_open(schedule->time_zone, &zone, &err) != STATUS_OK)
    abort();
  int64_t now = 1774742400000000; /* the night of a change of clocks in Europe */
  for (int i = 0; i < 20; i++) {
    int64_t next = cron_next(&cron, zone, now);
    if (next <= now)
      abort();
    now = next;
  }
  zone_close(zone);
}

static void check_fleet(const Fleet *fleet) {
  for (size_t i = 0; i < fleet_count(fleet); i++) {
    const FleetDatabase *database = fleet_at(fleet, i);
    if (fleet_database(fleet, database->config.name) != database || database->config.timeout_seconds < 1 ||
        database->config.connections < 1 || database->policy.retention.grace_hours < 1)
      abort();
    check_schedule(&database->policy.schedule);
  }
  json_t *none = fleet_difference(fleet, fleet);
  if (json_array_size(json_object_get(none, "changed")) || json_object_size(json_object_get(none, "fleet")))
    abort();
  json_decref(none);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static ConfigDatabase listed = {"listed", "", "", NULL, 0, 900, 5, 2, false, NULL, 0};
  const CoordinatorConfig config = {.path = "coordinator.yaml", .databases = &listed, .database_count = 1};
  Fleet *fleet = NULL;
  json_t *notes = NULL;
  Error err = {0};
  char *text = memcpy(malloc(size + 1), data, size);
  text[size] = '\0';
  Status status = fleet_make(&config, "fleet.yaml", text, strlen(text), &fleet, &notes, &err);
  if (status == STATUS_OK)
    check_fleet(fleet);
  else if (fleet || notes || status != ERR_CONFIG || !err.message[0] || err.status != status)
    abort();
  fleet_free(fleet);
  json_decref(notes);
  free(text);
  return 0;
}
