#include "coordinator/delivery/delivery.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto/authority.h"

static void wipe(char **text) {
  secret_text_free(text);
  *text = NULL;
}

void delivery_header(Delivery *delivery, char *text) {
  if (delivery->header_count < DELIVERY_HEADERS)
    delivery->headers[delivery->header_count++] = text;
  else
    wipe(&text);
}

void delivery_free(Delivery *delivery) {
  if (!delivery)
    return;
  wipe(&delivery->url);
  wipe(&delivery->user);
  wipe(&delivery->password);
  wipe(&delivery->body); /* PagerDuty's has the routing key */
  for (size_t i = 0; i < delivery->header_count; i++)
    wipe(&delivery->headers[i]);
  if (delivery->answer.size > 0)
    explicit_bzero(delivery->answer.data, delivery->answer.size);
  buffer_release(&delivery->answer);
  free(delivery);
}

void delivery_cleanup(Delivery **delivery) {
  delivery_free(*delivery);
}
