/*
 * latchkey/device/posix.h - the platform calls on Linux and its kin: TCP, clock, randomness.
 *
 * Sockets do not block, except that closing an open one waits up to 200 ms for the peer to end its
 * side, so that it reads DISCONNECT. Names do, once per connection: they are resolved with
 * getaddrinfo(); give an address, or run a local resolver, where that matters.
 */
#ifndef LATCHKEY_DEVICE_POSIX_H
#define LATCHKEY_DEVICE_POSIX_H

#include <latchkey/device.h>
#include <latchkey/device/platform.h>

struct addrinfo;

/** A TCP connection to one place. Fields are its own. */
struct lk_posix_tcp {
    const char *host, *port;
    int fd; /* -1: none */
    unsigned wants;
    bool connected;
    struct addrinfo *list, *at; /* addresses still to be tried */
};

/** @param host, port  terminated, borrowed: "broker.example", "8883". */
void lk_posix_tcp_init(struct lk_posix_tcp *tcp, const char *host, const char *port);

/** Errors: LK_ERR_NOT_FOUND no such name; LK_ERR_UNAVAILABLE no address took the connection;
 * LK_ERR_CLOSED, LK_ERR_IO. */
struct lk_transport lk_posix_tcp_transport(struct lk_posix_tcp *tcp);

/** From the kernel. */
struct lk_random lk_posix_random(void);

/** Milliseconds since some moment in the past; goes on during suspend where the system can. */
uint64_t lk_posix_now_ms(void);

/** Seconds since 1970; 0 for a clock that stands before this library was written. For
 * lk_tls_config.wall_s. */
int64_t lk_posix_wall_s(void *unused);

/** Sleep until what the device waits for has come. */
void lk_posix_wait(const struct lk_device_want *want, const struct lk_posix_tcp *source,
                   const struct lk_posix_tcp *link);

#endif
