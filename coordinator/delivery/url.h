/* Where something may be sent. Pure. */
#ifndef PGSEAL_COORDINATOR_DELIVERY_URL_H
#define PGSEAL_COORDINATOR_DELIVERY_URL_H

#include <stdbool.h>

/* What is wrong with it, without saying what it is; NULL: nothing. mail: it is of an SMTP server, else https://; or,
 * where somebody consents or it is this machine, http://. */
const char *delivery_url_problem(bool mail, const char *text, bool unencrypted);

#endif
