/* A port of loopback that nobody is given until it is used: below those that the kernel gives to whoever asks for any,
 * from a place of this process's own on, and never the same one twice. (End-to-end tests use those below 20000.) */
#ifndef PGSEAL_TESTS_UNIT_PORT_H
#define PGSEAL_TESTS_UNIT_PORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static inline int free_port(void) {
  enum { FIRST = 20000, COUNT = 10000 };
  static unsigned given;
  if (!given)
    given = (unsigned)getpid() * 37;
  for (int i = 0; i < COUNT; i++) {
    int port = FIRST + (int)(given++ % COUNT);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int taken = bind(fd, (struct sockaddr *)&address, sizeof address);
    close(fd);
    if (taken == 0)
      return port;
  }
  fail_msg("no port is free");
  return 0;
}

#endif
