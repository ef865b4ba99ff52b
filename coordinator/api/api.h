/*
 * The HTTP API (DESIGN 7; docs/openapi.yaml), by libmicrohttpd driven from the uv loop (external epoll, no threads).
 * Blocking requests and SSE streams are suspended connections. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_API_API_H
#define PGSEAL_COORDINATOR_API_API_H

#include <uv.h>

#include "coordinator/alerts/alerts.h"
#include "coordinator/dispatch/dispatch.h"
#include "coordinator/metrics/metrics.h"
#include "coordinator/overview/overview.h"
#include "coordinator/report/mailing.h"
#include "coordinator/rotation/run.h"
#include "coordinator/schedule/schedule.h"

typedef struct Api Api;
/* Binds config->http; ERR_UNAVAILABLE if it cannot. Stores the first admin token (config->admin_token_file) if none
 * exists. */
Status api_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Api **out,
                Error *err) MUST_CHECK;
void api_rotation(Api *api, Rotation *rotation); /* what it shows; it outlives the API */
/* Has to outlive the Api. Without one there is none to show. */
void api_show_schedule(Api *api, Schedule *schedule);
void api_show_alerts(Api *api, Alerts *alerts);
void api_show_mailing(Api *api, Mailing *mailing); /* NULL: there are no reports to be sent */
void api_show_overview(Api *api, Overview *overview);
void api_show_metrics(Api *api, Metrics *metrics);
int api_port(const Api *api);
/* Loads the certificate anew (SIGHUP); if that cannot be, it is logged and the one before stays. Open connections stay.
 */
void api_reload(Api *api);
/* Can the certificate, its key and the signing key of the configuration be used? OK without them. */
Status api_check(const CoordinatorConfig *config, Error *err) MUST_CHECK;
/* Answers waiting requests with 503 (code "unavailable", "coordinator is stopping; the checkpoint goes on") and closes.
 */
void api_close(Api *api);

#endif
