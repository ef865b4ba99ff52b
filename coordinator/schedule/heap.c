#include "coordinator/schedule/internal.h"

/* Of equals, what is made up for comes in the order of names. */
static bool sooner(const Schedule *schedule, size_t a, size_t b) {
  int64_t left = schedule->entries[schedule->heap[a]].due_us, right = schedule->entries[schedule->heap[b]].due_us;
  return left < right || (left == right && schedule->heap[a] < schedule->heap[b]);
}

void heap_sink(Schedule *schedule, size_t at) {
  for (;;) {
    size_t least = at, child = 2 * at + 1;
    for (size_t i = child; i < child + 2 && i < schedule->count; i++)
      least = sooner(schedule, i, least) ? i : least;
    if (least == at)
      return;
    size_t moved = schedule->heap[at];
    schedule->heap[at] = schedule->heap[least];
    schedule->heap[least] = moved;
    at = least;
  }
}

void heap_make(Schedule *schedule) {
  for (size_t i = 0; i < schedule->count; i++)
    schedule->heap[i] = i;
  for (size_t i = schedule->count / 2; i-- > 0;)
    heap_sink(schedule, i);
}
