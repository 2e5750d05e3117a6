#include <latchkey/device/posix.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <time.h>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- TCP ---- */

#define LINGER_MS 200 /* longest wait for the peer to end its side too */
#define DRAIN_LEN 512

/*
 * What lies unread, or comes later, makes the system answer with a reset, and a reset lets the peer
 * forget what it has not read yet: our DISCONNECT, with a will as the consequence. TLS 1.3 sends
 * session tickets at just that time. So: say that nothing more comes, read until the peer has said
 * the same, then close. A peer that has read DISCONNECT does so at once; one that is gone costs
 * LINGER_MS.
 */
static void
linger(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLIN};
    uint8_t rest[DRAIN_LEN];
    struct timespec now;
    int64_t until_ms, now_ms;

    if (shutdown(fd, SHUT_WR) != 0)
        return;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    until_ms = now_ms + LINGER_MS;
    while (now_ms < until_ms && poll(&end, 1, (int)(until_ms - now_ms)) > 0 &&
           recv(fd, rest, sizeof(rest), MSG_DONTWAIT) > 0) {
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
}

static void
socket_close(struct lk_posix_tcp *t)
{
    if (t->fd < 0)
        return;
    if (t->connected)
        linger(t->fd);
    close(t->fd);
    t->fd = -1;
}

static void
tcp_close(void *ctx)
{
    struct lk_posix_tcp *t = ctx;

    socket_close(t);
    if (t->list != NULL)
        freeaddrinfo(t->list);
    t->list = t->at = NULL;
    t->connected = false;
}

static enum lk_err
resolve(struct lk_posix_tcp *t)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};

    if (getaddrinfo(t->host, t->port, &hints, &t->list) != 0) {
        t->list = NULL;
        return LK_ERR_NOT_FOUND;
    }
    t->at = t->list;
    return LK_OK;
}

/* Begin with the next address. LK_ERR_BUSY: on its way. */
static enum lk_err
connect_next(struct lk_posix_tcp *t)
{
    const int on = 1;

    for (; t->at != NULL; t->at = t->at->ai_next) {
        t->fd = socket(t->at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (t->fd < 0)
            continue;
        (void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only slower */
        if (connect(t->fd, t->at->ai_addr, t->at->ai_addrlen) == 0 || errno == EINPROGRESS) {
            t->at = t->at->ai_next;
            t->wants = LK_WANT_WRITE;
            return LK_ERR_BUSY;
        }
        socket_close(t);
    }
    return LK_ERR_UNAVAILABLE;
}

static enum lk_err
tcp_open(void *ctx)
{
    struct lk_posix_tcp *t = ctx;
    struct pollfd poll_fd;
    socklen_t len = sizeof(int);
    int failure = 0;
    enum lk_err err;

    if (t->connected)
        return LK_OK;
    if (t->list == NULL) {
        err = resolve(t);
        if (err != LK_OK)
            return err;
    }
    if (t->fd < 0)
        return connect_next(t);

    poll_fd = (struct pollfd){.fd = t->fd, .events = POLLOUT};
    if (poll(&poll_fd, 1, 0) == 0) {
        t->wants = LK_WANT_WRITE;
        return LK_ERR_BUSY;
    }
    if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &failure, &len) != 0 || failure != 0) {
        socket_close(t);
        return connect_next(t);
    }
    t->connected = true;
    return LK_OK;
}

static enum lk_err
io_error(struct lk_posix_tcp *t, unsigned wants)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        t->wants = wants;
        return LK_ERR_BUSY;
    }
    return errno == ECONNRESET || errno == EPIPE ? LK_ERR_CLOSED : LK_ERR_IO;
}

static enum lk_err
tcp_read(void *ctx, struct lk_buf room, size_t *len)
{
    struct lk_posix_tcp *t = ctx;
    ssize_t got = recv(t->fd, room.ptr, room.cap, 0);

    *len = 0;
    if (got < 0)
        return io_error(t, LK_WANT_READ);
    if (got == 0)
        return LK_ERR_CLOSED;
    *len = (size_t)got;
    return LK_OK;
}

static enum lk_err
tcp_write(void *ctx, struct lk_span bytes, size_t *len)
{
    struct lk_posix_tcp *t = ctx;
    ssize_t sent = send(t->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

    *len = 0;
    if (sent < 0)
        return io_error(t, LK_WANT_WRITE);
    *len = (size_t)sent;
    return LK_OK;
}

static unsigned
tcp_wants(void *ctx)
{
    const struct lk_posix_tcp *t = ctx;

    return t->wants;
}

void
lk_posix_tcp_init(struct lk_posix_tcp *tcp, const char *host, const char *port)
{
    *tcp = (struct lk_posix_tcp){.host = host, .port = port, .fd = -1};
}

struct lk_transport
lk_posix_tcp_transport(struct lk_posix_tcp *tcp)
{
    return (struct lk_transport){
        .open = tcp_open,
        .read = tcp_read,
        .write = tcp_write,
        .close = tcp_close,
        .wants = tcp_wants,
        .ctx = tcp,
    };
}

/* ---- randomness and clocks ---- */

static enum lk_err
random_fill(void *ctx, struct lk_buf room)
{
    size_t len = 0;

    (void)ctx;
    while (len < room.cap) {
        ssize_t got = getrandom(room.ptr + len, room.cap - len, 0);

        if (got < 0 && errno != EINTR)
            return LK_ERR_IO;
        len += got > 0 ? (size_t)got : 0;
    }
    return LK_OK;
}

struct lk_random
lk_posix_random(void)
{
    return (struct lk_random){.fill = random_fill};
}

uint64_t
lk_posix_now_ms(void)
{
    struct timespec now = {0};

    /* A token's life goes on while the machine sleeps; CLOCK_MONOTONIC stands still then. */
#ifdef CLOCK_BOOTTIME
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
#endif
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t
lk_posix_wall_s(void *unused)
{
    enum { WRITTEN_S = 1735689600 }; /* 2025-01-01: an earlier clock was never set */
    struct timespec now = {0};

    (void)unused;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || now.tv_sec < WRITTEN_S)
        return 0;
    return (int64_t)now.tv_sec;
}

static struct pollfd
poll_of(const struct lk_posix_tcp *tcp, unsigned io)
{
    struct pollfd p = {.fd = io != 0 ? tcp->fd : -1};

    if ((io & LK_WANT_READ) != 0)
        p.events |= POLLIN;
    if ((io & LK_WANT_WRITE) != 0)
        p.events |= POLLOUT;
    return p;
}

void
lk_posix_wait(const struct lk_device_want *want, const struct lk_posix_tcp *source,
              const struct lk_posix_tcp *link)
{
    struct pollfd polls[2] = {poll_of(source, want->source_io), poll_of(link, want->link_io)};
    uint64_t now_ms = lk_posix_now_ms();
    uint64_t left_ms = want->until_ms > now_ms ? want->until_ms - now_ms : 0;

    (void)poll(polls, 2, left_ms > INT_MAX ? INT_MAX : (int)left_ms); /* woken early: step again */
}
