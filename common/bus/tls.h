/* nng's TLS configuration out of a BusTls. Internal to common/bus. */
#ifndef PGSEAL_COMMON_BUS_TLS_H
#define PGSEAL_COMMON_BUS_TLS_H

#include <nng/nng.h> /* first: tls.h does not include what it needs */
#include <nng/supplemental/tls/tls.h>

#include "common/bus/bus.h"

/* Freed with nng_tls_config_free; what uses it holds it by itself. ERR_KEY_UNREADABLE, ERR_CONFIG (tls is NULL). */
Status bus_tls_config(const BusTls *tls, nng_tls_mode mode, nng_tls_config **out, Error *err) MUST_CHECK;

#endif
