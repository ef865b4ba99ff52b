/* What picking and forecasting share. */
#ifndef PGSEAL_COORDINATOR_ROTATION_INTERNAL_H
#define PGSEAL_COORDINATOR_ROTATION_INTERNAL_H

#include "coordinator/rotation/rotation.h"

#define ROTATION_PURSE_DAYS 0.25

/* rotation_fill, up to so many days' worth. */
void rotation_fill_up_to(RotationPurse *purse, const RotationBudget *budget, int64_t now_us, double days);
/* Not a newest checkpoint that is followed by another, which brings its own proof, before its own is too old. */
bool rotation_concerns(const RotationItem *item);

#endif
