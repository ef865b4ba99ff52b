#include "common/base/id.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/clock.h"

static const char id_alphabet[] = "0123456789abcdefghjkmnpqrstvwxyz";

static void id_random(uint8_t *out, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t got = getrandom(out + done, size - done, 0);
    if (got < 0 && errno != EINTR)
      abort(); /* no kernel this runs on lacks getrandom(2); an id without randomness would be worse */
    if (got > 0)
      done += (size_t)got;
  }
}

Id id_new(void) {
  /* 130 bits in 26 digits: two leading zero bits, 48 of milliseconds, 80 random */
  uint64_t milliseconds = (uint64_t)(clock_wall_us() / 1000);
  uint8_t random[10];
  id_random(random, sizeof random);
  Id id;
  for (int i = 9; i >= 0; i--) {
    id.text[i] = id_alphabet[milliseconds & 31];
    milliseconds >>= 5;
  }
  for (int half = 0; half < 2; half++) { /* 40 bits are 8 digits */
    uint64_t bits = 0;
    for (int i = 0; i < 5; i++)
      bits = bits << 8 | random[half * 5 + i];
    for (int i = 7; i >= 0; i--) {
      id.text[10 + half * 8 + i] = id_alphabet[bits & 31];
      bits >>= 5;
    }
  }
  id.text[26] = '\0';
  return id;
}

bool id_valid(const char *text) {
  if (strnlen(text, ID_SIZE) != ID_SIZE - 1 || text[0] > '7')
    return false;
  return strspn(text, id_alphabet) == ID_SIZE - 1;
}

int64_t id_time_us(const char *text) {
  int64_t milliseconds = 0;
  if (!id_valid(text))
    return 0;
  for (int i = 0; i < 10; i++)
    milliseconds = milliseconds << 5 | (int64_t)(strchr(id_alphabet, text[i]) - id_alphabet);
  return milliseconds <= INT64_MAX / 1000 ? milliseconds * 1000 : 0;
}
