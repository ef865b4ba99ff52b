/*
 * What is sent: one attempt at one request by HTTP, or at one message by SMTP, and what came of it. Whoever makes one
 * fills it in; it is the sender's (sender.h) from when it is submitted until it comes back.
 */
#ifndef PGSEAL_COORDINATOR_DELIVERY_DELIVERY_H
#define PGSEAL_COORDINATOR_DELIVERY_DELIVERY_H

#include "common/base/buffer.h"

enum { DELIVERY_HEADERS = 16, DELIVERY_ERROR = 256 };

/* Whom it is for, but for the URL. What it points to is of the configuration. */
typedef struct DeliveryTo {
  bool mail;           /* by SMTP; else by HTTP */
  bool unencrypted;    /* consents to mail without TLS */
  const char *ca_file; /* whom it trusts; NULL: the system's */
  const char *from;    /* of mail, as the next */
  const char **to;
  size_t to_count;
} DeliveryTo;

typedef struct Delivery {
  char id[27];
  DeliveryTo receiver;
  const void *of; /* the caller's own */
  char *url, *user, *password, *body;
  size_t size;                     /* of the body; a ping has none */
  char *headers[DELIVERY_HEADERS]; /* of HTTP */
  size_t header_count;
  int seconds;         /* how long it may take; 0: SENDER_SECONDS */
  size_t answer_limit; /* so much of an answer's body is kept, and a longer one is an error; 0: none is */
  bool letter;         /* alerts: it is no alert */
  /* What came of it: */
  long code;                  /* of HTTP, or of SMTP; 0: there was no answer */
  Buffer answer;              /* its body; owned */
  bool accepted;              /* 2xx, or what is that in SMTP */
  bool faulty;                /* it is the message that is wrong, says the receiver */
  int64_t retry_seconds;      /* as the receiver wants it; 0: not said */
  char error[DELIVERY_ERROR]; /* why not; nothing in it is secret */
  struct Delivery *next;
} Delivery;

void delivery_header(Delivery *delivery, char *text); /* text: stolen; at most DELIVERY_HEADERS of them */
void delivery_free(Delivery *delivery);               /* wipes what is secret; NULL is fine */
void delivery_cleanup(Delivery **delivery);

#endif
