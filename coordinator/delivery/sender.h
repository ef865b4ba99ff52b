/*
 * Sends deliveries, by libcurl on a thread of its own: the loop never waits for a receiver. At most SENDER_LIMIT at a
 * time, each SENDER_SECONDS at most, and longer where it is large; what comes back is handed over on the loop.
 * Redirects are not followed; of an answer's body nothing is kept, unless the delivery asks for it. Alerts (and
 * reports by mail), sign-ins and traces have a sender each: none waits for another's receivers.
 *
 * The caller's thread is the loop's. A delivery is the sender's from sender_submit until `done` gets it back.
 */
#ifndef PGSEAL_COORDINATOR_DELIVERY_SENDER_H
#define PGSEAL_COORDINATOR_DELIVERY_SENDER_H

#include <uv.h>

#include "common/base/error.h"
#include "coordinator/delivery/delivery.h"

enum { SENDER_LIMIT = 32, SENDER_SECONDS = 20, SENDER_BYTES_PER_SECOND = 64 << 10 };

typedef struct Sender Sender;
/* done: takes the delivery. ERR_INTERNAL: no thread. */
Status sender_open(uv_loop_t *loop, void (*done)(void *user, Delivery *delivery), void *user, Sender **out,
                   Error *err) MUST_CHECK;
size_t sender_room(const Sender *sender); /* how many more it takes now */
void sender_submit(Sender *sender, Delivery *delivery);
/* Takes nothing more. What was submitted has three seconds to be answered, and is told of like before; then the loop is
 * free of it. */
void sender_stop(Sender *sender);
/* Called once it has stopped and the loop is free of it: it may free it then. */
void sender_when_gone(Sender *sender, void (*gone)(void *user));
void sender_free(Sender *sender); /* after the loop has ended, or from there; NULL is fine */

#endif
