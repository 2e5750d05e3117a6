#include "loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum lk_err
loop_open(struct loop *loop, const char *host, unsigned port)
{
    loop->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (port == 0 || port > 65535 || inet_pton(AF_INET, host, &loop->to.sin_addr) != 1)
        return LK_ERR_ARG;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll < 0 ? LK_ERR_IO : LK_OK;
}

void
loop_close(struct loop *loop)
{
    if (loop->epoll >= 0)
        (void)close(loop->epoll);
    loop->epoll = -1;
}

static void
link_watch(struct loop *loop, struct link *link, int how)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};

    if (link->out_len > 0)
        event.events |= EPOLLOUT;
    (void)epoll_ctl(loop->epoll, how, link->fd, &event);
}

void
link_drop(struct loop *loop, struct link *link)
{
    (void)loop;
    if (link->fd >= 0)
        (void)close(link->fd); /* leaves epoll by itself */
    link->fd = -1;
    link->in_len = link->out_len = 0;
}

void
link_free(struct link *link)
{
    free(link->in);
    free(link->out);
    link->in = link->out = NULL;
}

static void
link_end(struct loop *loop, struct link *link)
{
    link_drop(loop, link);
    loop->on_event(loop, link, LINK_CLOSED, NULL);
}

static enum lk_err
link_dial(struct loop *loop, struct link *link)
{
    const int on = 1;

    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return LK_ERR_IO;
    (void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(link->fd, (const struct sockaddr *)&loop->to, sizeof(loop->to)) < 0 &&
        errno != EINPROGRESS) {
        link_drop(loop, link);
        return LK_ERR_IO;
    }
    return LK_OK;
}

enum lk_err
link_open(struct loop *loop, struct link *link, const struct lk_mqtt_connect *connect)
{
    struct lk_span bytes;
    enum lk_err err;

    if (link->in == NULL)
        link->in = malloc(LINK_ROOM);
    if (link->out == NULL)
        link->out = malloc(LINK_ROOM);
    if (link->in == NULL || link->out == NULL)
        return LK_ERR_NOMEM;
    link->refusal = 0;
    link->is_open = link->is_leaving = false;
    link->in_len = link->out_len = 0;
    err = lk_mqtt_write_connect(connect, (struct lk_buf){link->out, LINK_ROOM}, &bytes);
    if (err == LK_OK)
        err = link_dial(loop, link);
    if (err != LK_OK)
        return err;
    if (bytes.ptr != link->out) /* the header's length is known last */
        memmove(link->out, bytes.ptr, bytes.len);
    link->out_len = bytes.len;
    link_watch(loop, link, EPOLL_CTL_ADD);
    return LK_OK;
}

bool
link_has_room(const struct link *link, size_t len)
{
    return link->fd >= 0 && LINK_ROOM - link->out_len >= len;
}

/* @return false if the connection is gone. */
static bool
link_flush(struct link *link)
{
    ssize_t n = send(link->fd, link->out, link->out_len, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    link->out_len -= (size_t)n;
    memmove(link->out, link->out + n, link->out_len);
    return true;
}

bool
link_send(struct loop *loop, struct link *link, struct lk_span bytes)
{
    bool waited = link->out_len > 0;

    if (!link_has_room(link, bytes.len))
        return false;
    memcpy(link->out + link->out_len, bytes.ptr, bytes.len);
    link->out_len += bytes.len;
    if (waited)
        return true;
    (void)link_flush(link); /* an error comes back as an event */
    if (link->out_len > 0)
        link_watch(loop, link, EPOLL_CTL_MOD);
    return true;
}

void
link_leave(struct loop *loop, struct link *link)
{
    uint8_t room[8];
    struct lk_span bytes;

    link->is_leaving = true;
    if (lk_mqtt_write_disconnect(loop->version, 0, LK_BUF_OF(room), &bytes) == LK_OK)
        (void)link_send(loop, link, bytes);
}

/* @return false if the link is at its end. */
static bool
link_take(struct loop *loop, struct link *link, struct lk_span bytes)
{
    struct lk_mqtt_packet packet;

    if (lk_mqtt_parse(loop->version, bytes, &packet) != LK_OK)
        return false;
    if (packet.type != LK_MQTT_CONNACK) {
        loop->on_event(loop, link, LINK_PACKET, &packet);
        return link->fd >= 0;
    }
    link->refusal = packet.reason;
    if (packet.reason != 0)
        return false;
    link->is_open = true;
    loop->on_event(loop, link, LINK_CONNECTED, NULL);
    return link->fd >= 0;
}

static bool
link_take_all(struct loop *loop, struct link *link)
{
    size_t at = 0, len;
    uint8_t type;
    enum lk_err err;

    for (;;) {
        err = lk_mqtt_frame(lk_span_of(link->in + at, link->in_len - at), &type, &len);
        if (err == LK_ERR_TRUNCATED || (err == LK_OK && len > link->in_len - at))
            break;
        if (err != LK_OK || !link_take(loop, link, lk_span_of(link->in + at, len)))
            return false;
        at += len;
    }
    link->in_len -= at;
    memmove(link->in, link->in + at, link->in_len);
    return link->in_len < LINK_ROOM;
}

static bool
link_read(struct loop *loop, struct link *link)
{
    ssize_t n = recv(link->fd, link->in + link->in_len, LINK_ROOM - link->in_len, 0);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    link->in_len += (size_t)n;
    return link_take_all(loop, link);
}

static void
link_handle(struct loop *loop, struct link *link, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (!link_flush(link)) {
            link_end(loop, link);
            return;
        }
        if (link->out_len == 0)
            link_watch(loop, link, EPOLL_CTL_MOD);
    }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP) && !link_read(loop, link))
        link_end(loop, link);
}

int
loop_turn(struct loop *loop, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(loop->epoll, events, EVENTS_MAX, timeout_ms);

    for (int i = 0; i < count; i++) {
        struct link *link = events[i].data.ptr;

        if (link->fd >= 0)
            link_handle(loop, link, events[i].events);
    }
    return count > 0 ? count : 0;
}
