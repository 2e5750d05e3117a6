#include "scrape.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <latchkey/host/clock.h>

#include "wake.h"

#define HEAD_ROOM 256 /* bytes of an answer's head */

struct scrape_client {
    int fd;         /* -1: free */
    uint64_t order; /* of arrival */
    int64_t until_ms;
    bool answering;
    size_t got, sent, len;
    uint8_t request[METRICS_REQUEST];
    uint8_t answer[HEAD_ROOM + METRICS_PAGE_MAX];
};

/* --- the place ----------------------------------------------------------------------------- */

static bool
parse_port(const char *text, uint16_t *port)
{
    unsigned long n = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    n = strtoul(text, NULL, 10);
    *port = (uint16_t)n;
    return n > 0 && n <= UINT16_MAX;
}

/* Numbers only: a name could mean another machine tomorrow. "localhost" is 127.0.0.1. */
static bool
parse_host(struct scrape_place *place, const char *text, size_t len)
{
    struct in6_addr six;
    struct in_addr four;

    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof(place->host))
        return false;
    (void)snprintf(place->host, sizeof(place->host), "%.*s", (int)len, text);
    if (strcmp(place->host, "localhost") == 0)
        (void)snprintf(place->host, sizeof(place->host), "127.0.0.1");
    if (inet_pton(AF_INET, place->host, &four) == 1) {
        place->is_public = ntohl(four.s_addr) >> 24 != 127;
        return true;
    }
    place->is_public = true;
    if (inet_pton(AF_INET6, place->host, &six) != 1)
        return false;
    place->is_public = !IN6_IS_ADDR_LOOPBACK(&six);
    return true;
}

bool
scrape_parse(const char *text, struct scrape_place *place)
{
    static const char unix_prefix[] = "unix:";
    const char *colon = strrchr(text, ':');

    *place = (struct scrape_place){.kind = SCRAPE_OFF};
    if (text[0] == '\0' || strcmp(text, "off") == 0)
        return true;
    if (text[0] == '/') {
        place->kind = SCRAPE_FILE;
        return snprintf(place->path, sizeof(place->path), "%s", text) < OPTION_TEXT_MAX - 8;
    }
    if (strncmp(text, unix_prefix, sizeof(unix_prefix) - 1) == 0) {
        text += sizeof(unix_prefix) - 1;
        place->kind = SCRAPE_UNIX;
        (void)snprintf(place->path, sizeof(place->path), "%s", text);
        return text[0] == '/' && strlen(text) < sizeof(((struct sockaddr_un *)0)->sun_path);
    }
    place->kind = SCRAPE_TCP;
    return colon != NULL && parse_host(place, text, (size_t)(colon - text)) &&
           parse_port(colon + 1, &place->port);
}

/* --- the request --------------------------------------------------------------------------- */

static bool
is_word(struct lk_span line, const char *word)
{
    return lk_span_is(line, word);
}

/* Up to the next space, which is taken too; the last word ends with the line. */
static struct lk_span
next_word(struct lk_span *line)
{
    const uint8_t *space = line->len > 0 ? memchr(line->ptr, ' ', line->len) : NULL;
    size_t len = space != NULL ? (size_t)(space - line->ptr) : line->len;
    struct lk_span word = lk_span_of(line->ptr, len);

    len += space != NULL;
    *line = lk_span_of(line->ptr + len, line->len - len);
    return word;
}

static bool
is_metrics_path(struct lk_span target)
{
    const uint8_t *query = target.len > 0 ? memchr(target.ptr, '?', target.len) : NULL;

    if (query != NULL)
        target.len = (size_t)(query - target.ptr);
    return is_word(target, "/metrics");
}

static unsigned
judge_line(struct lk_span line, bool *head_only)
{
    struct lk_span method = next_word(&line), target = next_word(&line), version = line;

    *head_only = is_word(method, "HEAD");
    if (method.len == 0 || target.len == 0 || target.ptr[0] != '/')
        return 400;
    if (!is_word(version, "HTTP/1.1") && !is_word(version, "HTTP/1.0"))
        return version.len == 8 && memcmp(version.ptr, "HTTP/", 5) == 0 ? 505 : 400;
    for (size_t i = 0; i < target.len; i++)
        if (target.ptr[i] <= 0x20 || target.ptr[i] >= 0x7f)
            return 400;
    if (!*head_only && !is_word(method, "GET"))
        return 405;
    return is_metrics_path(target) ? 200 : 404;
}

/* RFC 9112 section 3. Nothing in the headers changes the answer, so they are only waited for. */
unsigned
scrape_judge(struct lk_span request, bool *head_only)
{
    const uint8_t *end = request.len > 0 ? memmem(request.ptr, request.len, "\r\n\r\n", 4) : NULL;
    const uint8_t *line_end;

    *head_only = false;
    if (request.len > 0 && memchr(request.ptr, '\0', request.len) != NULL)
        return 400;
    if (end == NULL)
        return request.len >= METRICS_REQUEST ? 431 : 0;
    line_end = memchr(request.ptr, '\r', request.len);
    return judge_line(lk_span_of(request.ptr, (size_t)(line_end - request.ptr)), head_only);
}

/* --- the answer ---------------------------------------------------------------------------- */

static const char *
status_text(unsigned status)
{
    switch (status) {
    case 200:
        return "200 OK";
    case 404:
        return "404 Not Found";
    case 405:
        return "405 Method Not Allowed\r\nAllow: GET, HEAD";
    case 431:
        return "431 Request Header Fields Too Large";
    case 500:
        return "500 Internal Server Error";
    case 505:
        return "505 HTTP Version Not Supported";
    default:
        return "400 Bad Request";
    }
}

static void
make_answer(const struct scrape *s, struct scrape_client *c, unsigned status, bool head_only)
{
    struct lk_buf room = {c->answer + HEAD_ROOM, METRICS_PAGE_MAX};
    struct lk_span page = {NULL, 0};
    size_t head;
    int n;

    if (status == 200 && metrics_write(s->metrics, room, &page) != LK_OK)
        status = 500;
    n = snprintf((char *)c->answer, HEAD_ROOM,
                 "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                 "Content-Length: %zu\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
                 status_text(status), page.len);
    head = n > 0 && n < HEAD_ROOM ? (size_t)n : 0;
    if (head_only)
        page.len = 0;
    if (page.len > 0)
        memmove(c->answer + head, page.ptr, page.len);
    c->len = head + page.len;
    c->sent = 0;
    c->answering = true;
}

/* --- connections --------------------------------------------------------------------------- */

static void
drop(struct scrape_client *c)
{
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
}

static void
write_some(struct scrape_client *c)
{
    ssize_t n = send(c->fd, c->answer + c->sent, c->len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        c->sent += (size_t)n;
    if (n > 0 && c->sent < c->len)
        return;
    /* What is still unread would turn the close into a reset, and take the answer along. */
    (void)shutdown(c->fd, SHUT_WR);
    if (recv(c->fd, c->request, sizeof(c->request), MSG_DONTWAIT) < 0)
        errno = 0;
    drop(c);
}

static void
read_some(const struct scrape *s, struct scrape_client *c)
{
    ssize_t n = recv(c->fd, c->request + c->got, sizeof(c->request) - c->got, MSG_DONTWAIT);
    bool head_only;
    unsigned status;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->got += (size_t)n;
    status = scrape_judge(lk_span_of(c->request, c->got), &head_only);
    if (status == 0)
        return;
    make_answer(s, c, status, head_only);
    write_some(c);
}

static struct scrape_client *
place_for(struct scrape *s)
{
    struct scrape_client *oldest = &s->clients[0];

    for (size_t i = 0; i < METRICS_CLIENTS; i++) {
        if (s->clients[i].fd < 0)
            return &s->clients[i];
        if (s->clients[i].order < oldest->order)
            oldest = &s->clients[i];
    }
    drop(oldest);
    return oldest;
}

static void
take_client(struct scrape *s)
{
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct scrape_client *c;

    if (fd < 0) {
        /* Out of descriptors, it would be asked again at once. */
        if (errno == EMFILE || errno == ENFILE)
            (void)poll(NULL, 0, METRICS_PAUSE_MS);
        return;
    }
    c = place_for(s);
    c->fd = fd;
    c->order = ++s->order;
    c->until_ms = lk_clock_monotonic_ms() + METRICS_WAIT_MS;
    c->answering = false;
    c->got = c->sent = c->len = 0;
}

/* --- the thread ---------------------------------------------------------------------------- */

static int
serve_wait(struct scrape *s, struct pollfd fds[METRICS_CLIENTS + 2])
{
    int64_t now_ms = lk_clock_monotonic_ms(), left_ms = -1;

    fds[0] = (struct pollfd){.fd = s->event_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = s->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < METRICS_CLIENTS; i++) {
        struct scrape_client *c = &s->clients[i];

        if (c->fd >= 0 && now_ms >= c->until_ms)
            drop(c);
        fds[i + 2] = (struct pollfd){.fd = c->fd, .events = c->answering ? POLLOUT : POLLIN};
        if (c->fd >= 0 && (left_ms < 0 || c->until_ms - now_ms < left_ms))
            left_ms = c->until_ms - now_ms;
    }
    return poll(fds, METRICS_CLIENTS + 2, (int)left_ms);
}

static void
serve(struct scrape *s)
{
    struct pollfd fds[METRICS_CLIENTS + 2];

    while (!atomic_load(&s->stop)) {
        if (serve_wait(s, fds) <= 0)
            continue;
        for (size_t i = 0; i < METRICS_CLIENTS; i++) {
            if (fds[i + 2].revents == 0)
                continue;
            if (s->clients[i].answering)
                write_some(&s->clients[i]);
            else
                read_some(s, &s->clients[i]);
        }
        if ((fds[1].revents & POLLIN) != 0)
            take_client(s);
        else if (fds[1].revents != 0)
            return; /* the socket is broken; nothing will come */
    }
}

/* Whole or not at all: written beside its place and renamed. No fsync, for it is not worth a
 * flash's wear: after a power cut the numbers begin anew anyway. */
static bool
write_file(const struct scrape *s)
{
    char temporary[OPTION_TEXT_MAX + 8];
    struct lk_span page;
    bool ok;
    int fd;

    if (metrics_write(s->metrics, (struct lk_buf){s->page, METRICS_PAGE_MAX}, &page) != LK_OK)
        return false;
    (void)snprintf(temporary, sizeof(temporary), "%s.new", s->place.path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    ok = write(fd, page.ptr, page.len) == (ssize_t)page.len;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(temporary, s->place.path) == 0;
    if (!ok)
        (void)unlink(temporary);
    return ok;
}

static void
keep_file(struct scrape *s)
{
    struct pollfd event = {.fd = s->event_fd, .events = POLLIN};

    /* A disk that is full now may not be so in a while: there is nobody to tell in between. */
    while (!atomic_load(&s->stop)) {
        (void)poll(&event, 1, METRICS_FILE_MS);
        (void)write_file(s);
    }
}

static void *
run(void *context)
{
    struct scrape *s = context;

    if (s->place.kind == SCRAPE_FILE)
        keep_file(s);
    else
        serve(s);
    return NULL;
}

/* --- begin and end ------------------------------------------------------------------------- */

static enum lk_err
listen_tcp(struct scrape *s)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(s->place.port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(s->place.port)};
    bool is_four = inet_pton(AF_INET, s->place.host, &four.sin_addr) == 1;
    const int on = 1;

    if (!is_four && inet_pton(AF_INET6, s->place.host, &six.sin6_addr) != 1)
        return LK_ERR_ARG;
    s->listen_fd =
        socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0 ||
        setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(s->listen_fd, is_four ? (const struct sockaddr *)&four : (const struct sockaddr *)&six,
             is_four ? sizeof(four) : sizeof(six)) != 0 ||
        listen(s->listen_fd, METRICS_CLIENTS) != 0)
        return LK_ERR_IO;
    return LK_OK;
}

/* A socket that nobody answers on was left behind by a broker that was killed. */
static void
remove_stale(const struct sockaddr_un *address)
{
    struct stat file;
    int fd;

    if (lstat(address->sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
        return;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
        errno == ECONNREFUSED)
        (void)unlink(address->sun_path);
    (void)close(fd);
}

static enum lk_err
listen_unix(struct scrape *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    /* scrape_parse has seen that it fits, with its end. */
    memcpy(address.sun_path, s->place.path, strlen(s->place.path) + 1);
    remove_stale(&address);
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0 ||
        bind(s->listen_fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        chmod(address.sun_path, 0660) != 0 || listen(s->listen_fd, METRICS_CLIENTS) != 0)
        return LK_ERR_IO;
    return LK_OK;
}

static enum lk_err
open_place(struct scrape *s)
{
    if (s->place.kind == SCRAPE_FILE) {
        s->page = malloc(METRICS_PAGE_MAX);
        if (s->page == NULL)
            return LK_ERR_NOMEM;
        /* Now, so that a folder that is missing stops the broker and not the graphs. */
        return write_file(s) ? LK_OK : LK_ERR_IO;
    }
    s->clients = calloc(METRICS_CLIENTS, sizeof(*s->clients));
    if (s->clients == NULL)
        return LK_ERR_NOMEM;
    for (size_t i = 0; i < METRICS_CLIENTS; i++)
        s->clients[i].fd = -1;
    return s->place.kind == SCRAPE_TCP ? listen_tcp(s) : listen_unix(s);
}

enum lk_err
scrape_start(struct scrape *s, const struct metrics *metrics, const char *place)
{
    enum lk_err err;

    *s = (struct scrape){.metrics = metrics, .listen_fd = -1, .event_fd = -1};
    if (!scrape_parse(place, &s->place))
        return LK_ERR_ARG;
    if (s->place.kind == SCRAPE_OFF)
        return LK_OK;
    err = open_place(s);
    if (err != LK_OK)
        return err;
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->event_fd < 0 || wake_thread_start(&s->thread, run, s) != 0)
        return LK_ERR_UNAVAILABLE;
    s->running = true;
    return LK_OK;
}

static void
stop_thread(struct scrape *s)
{
    const uint64_t one = 1;

    atomic_store(&s->stop, true);
    if (write(s->event_fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
        (void)pthread_join(s->thread, NULL);
    if (s->place.kind == SCRAPE_UNIX)
        (void)unlink(s->place.path);
}

void
scrape_stop(struct scrape *s)
{
    if (s->running)
        stop_thread(s);
    for (size_t i = 0; s->clients != NULL && i < METRICS_CLIENTS; i++)
        drop(&s->clients[i]);
    if (s->listen_fd > 0)
        (void)close(s->listen_fd);
    if (s->event_fd > 0)
        (void)close(s->event_fd);
    free(s->clients);
    free(s->page);
    memset(s, 0, sizeof(*s));
}
