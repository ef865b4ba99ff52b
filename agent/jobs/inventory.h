/*
 * Inventory: what the repository holds of a database, as it is, for a coordinator whose ledger does not know it (any
 * more). Manifests and proofs are passed on as they are stored, with their signatures, and with what they say: the
 * coordinator checks who signed them, and it alone decides what is to be believed. Nothing is written.
 *
 * In pages that fit into a message. One holds all of a checkpoint; the next one begins behind it. What is too large for
 * any message is named with its digest instead.
 */
#ifndef PGSEAL_AGENT_JOBS_INVENTORY_H
#define PGSEAL_AGENT_JOBS_INVENTORY_H

#include "agent/jobs/stored.h"
#include "proto/pgseal.pb-c.h"

typedef struct InventoryBounds {
  size_t enough; /* bytes of documents: a page that has them is closed */
  size_t most;   /* of a page: what does not fit is left out */
  size_t object; /* of one document that is passed on whole */
  size_t checkpoints, proofs /* of an attempt */;
} InventoryBounds;
extern const InventoryBounds inventory_bounds; /* as messages want them */

typedef struct InventoryWatch {
  /* Before every checkpoint; anything but STATUS_OK ends it. */
  Status (*check)(void *user, uint64_t checkpoints, Error *err);
  void *user;
} InventoryWatch;

/* after: a checkpoint's id, or "". *out is freed with pgseal__inventory_page__free_unpacked. Documents that are damaged
 * are told so; ERR_UNAVAILABLE: the repository holds nothing at all, and is likely the wrong one. */
Status inventory_page(const StoredPlace *place, const char *database, const char *after, const InventoryBounds *bounds,
                      const InventoryWatch *watch, Pgseal__InventoryPage **out, Error *err) MUST_CHECK;

/* What is read of an attempt's documents. Internal to inventory*.c. */
typedef struct InventoryRoom {
  const StoredPlace *place;
  const InventoryBounds *bounds;
  size_t used;
} InventoryRoom;
/* *attempt gets its manifest, or its proofs (keys, oldest first). */
Status inventory_manifest(InventoryRoom *room, const char *prefix, Pgseal__InventoryAttempt *attempt,
                          Error *err) MUST_CHECK;
Status inventory_proofs(InventoryRoom *room, char *const *keys, size_t count, Pgseal__InventoryAttempt *attempt,
                        Error *err) MUST_CHECK;

#endif
