/* A fleet.yaml that is checked: what it says, setting by setting, before it is matched with databases. Internal to
 * coordinator/fleet. */
#ifndef PGSEAL_COORDINATOR_FLEET_DOCUMENT_H
#define PGSEAL_COORDINATOR_FLEET_DOCUMENT_H

#include "coordinator/fleet/places.h"
#include "coordinator/fleet/schema.h"

/* One policy; where raw has texts that mean something else, that. -1: it says nothing of it. */
typedef struct Overlay {
  const RawPolicy *raw;
  const char *lock_mode; /* or NULL */
  int make_up;           /* 0, 1 */
  int64_t rotation_age, proof_age, restore_time, data_loss;
  int kinds; /* RotationKind's */
  bool used; /* it matched something */
} Overlay;

typedef struct Document {
  char *name; /* of the file */
  RawFleet *raw;
  Places places;
  Overlay *overlays; /* one for each policy */
} Document;

Status document_read(const char *name, const char *text, size_t size, Document *out, Error *err) MUST_CHECK;
void document_release(Document *document);

/* ERR_CONFIG with the place and what it is about before the message. path: "" is the item itself. */
Status document_error(const Document *document, Error *err, PlaceSection section, unsigned item, const char *path,
                      const char *format, ...) PRINTF_LIKE(6, 7);

/* "GOVERNANCE", "COMPLIANCE", or NULL: neither. */
const char *document_lock_mode(const char *text);

/* Does a policy match? labels: as in FleetDatabase. */
bool overlay_matches(const Overlay *overlay, const FleetDatabase *database);

#endif
