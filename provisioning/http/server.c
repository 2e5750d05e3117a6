#include "server.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <latchkey/crypto.h>
#include <latchkey/host/clock.h>
#include <latchkey/host/log.h>

#define LISTEN_BACKLOG  1024
#define STOP_TIME_MS    10000 /* how long accepted requests may take when the server stops */
#define EVHTTP_TIME_S   90    /* evhttp's own: between two bytes; longer than ours wait for news */
#define TICK_S          1
#define SESSION_TICKETS 1 /* OpenSSL sends two by default; a device uses one */

/** An open connection, hung on its SSL object, and so freed with it. */
struct connection {
    struct worker *worker;
    SSL *ssl;
    int64_t until_ms; /* the next request must be complete by then; 0: a call is in hand */
    struct connection *next, **at;
};

struct server {
    struct service *service;
    const struct router *router;
    pthread_mutex_t tls_lock;
    SSL_CTX *tls;
    struct worker *workers;
    size_t worker_count;
    atomic_uint connections; /* all workers together */
    unsigned connections_max;
    atomic_bool stopping;
};

static int ex_index = -1; /* where a connection hangs on its SSL object */
static pthread_once_t ex_once = PTHREAD_ONCE_INIT;

/* --- TLS ------------------------------------------------------------------------------------- */

static void
tls_log(const char *file)
{
    char text[160] = "no such file, or not readable";
    unsigned long code = ERR_get_error();

    if (code != 0)
        ERR_error_string_n(code, text, sizeof(text));
    ERR_clear_error();
    lk_log(LK_LOG_ERROR, "tls file=%s err=IO text=%s", lk_log_text(file), lk_log_text(text));
}

/** HTTP/1.1 only; a client that offers nothing we speak goes on without ALPN. */
static int
on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
        unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, ours, sizeof(ours) - 1, in,
                              in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *
tls_new(const struct config *config)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_server_method());

    if (tls == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_options(tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF); /* tickets need no memory here */
    SSL_CTX_set_num_tickets(tls, SESSION_TICKETS);
    SSL_CTX_set_session_id_context(tls, (const unsigned char *)"latchkeyd", 9);
    SSL_CTX_set_alpn_select_cb(tls, on_alpn, NULL);
    if (SSL_CTX_use_certificate_chain_file(tls, config->tls_cert) != 1) {
        tls_log(config->tls_cert);
        goto fail;
    }
    if (SSL_CTX_use_PrivateKey_file(tls, config->tls_key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(tls) != 1) {
        tls_log(config->tls_key);
        goto fail;
    }
    return tls;
fail:
    SSL_CTX_free(tls);
    return NULL;
}

enum lk_err
server_load_tls(struct server *server, const struct config *config)
{
    SSL_CTX *tls = tls_new(config), *old;

    if (tls == NULL)
        return LK_ERR_IO;
    pthread_mutex_lock(&server->tls_lock);
    old = server->tls;
    server->tls = tls;
    pthread_mutex_unlock(&server->tls_lock);
    SSL_CTX_free(old); /* open connections hold their own reference */
    return LK_OK;
}

static SSL *
tls_open(struct server *server)
{
    SSL *ssl;

    pthread_mutex_lock(&server->tls_lock);
    ssl = SSL_new(server->tls);
    pthread_mutex_unlock(&server->tls_lock);
    return ssl;
}

/* --- Connections --------------------------------------------------------------------------------
 */

static void
connection_on_free(void *parent, void *ptr, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    struct connection *connection = ptr;
    struct worker *worker;

    (void)parent;
    (void)data;
    (void)index;
    (void)argl;
    (void)argp;
    if (connection == NULL)
        return;
    worker = connection->worker;
    *connection->at = connection->next;
    if (connection->next != NULL)
        connection->next->at = connection->at;
    worker->connection_count--;
    atomic_fetch_sub(&worker->server->connections, 1);
    free(connection);
}

static void
ex_register(void)
{
    ex_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, connection_on_free);
}

static bool
connection_put(struct worker *worker, SSL *ssl)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (connection == NULL || SSL_set_ex_data(ssl, ex_index, connection) != 1) {
        free(connection);
        return false;
    }
    connection->worker = worker;
    connection->ssl = ssl;
    connection->until_ms = lk_clock_monotonic_ms() + HTTP_REQUEST_TIME_MS;
    connection->next = worker->connections;
    connection->at = &worker->connections;
    if (connection->next != NULL)
        connection->next->at = &connection->next;
    worker->connections = connection;
    worker->connection_count++;
    return true;
}

static void
connection_shut(struct connection *connection)
{
    int fd = SSL_get_fd(connection->ssl);

    if (fd >= 0)
        shutdown(fd, SHUT_RDWR); /* evhttp sees the end and frees it in its own time */
}

void
connection_busy(struct evhttp_request *request, bool busy)
{
    struct evhttp_connection *evcon = evhttp_request_get_connection(request);
    struct connection *connection;
    SSL *ssl;

    if (evcon == NULL)
        return;
    ssl = bufferevent_openssl_get_ssl(evhttp_connection_get_bufferevent(evcon));
    connection = ssl == NULL ? NULL : SSL_get_ex_data(ssl, ex_index);
    if (connection != NULL)
        connection->until_ms = busy ? 0 : lk_clock_monotonic_ms() + HTTP_IDLE_TIME_MS;
}

/** evhttp asks for the transport of a connection it has just accepted. */
static struct bufferevent *
on_accept(struct event_base *base, void *arg)
{
    struct worker *worker = arg;
    struct server *server = worker->server;
    struct bufferevent *bev;
    SSL *ssl = tls_open(server);

    /* Should memory be that short, the answer to every connection would be plain HTTP: evhttp makes
     * a transport of its own when it gets none. Rather end. */
    if (ssl == NULL || !connection_put(worker, ssl))
        abort();
    bev = bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                         BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL)
        abort();
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    if (atomic_fetch_add(&server->connections, 1) + 1 >= server->connections_max)
        evconnlistener_disable(worker->listener); /* the tick enables it again */
    return bev;
}

/* --- A worker
 * ------------------------------------------------------------------------------------- */

static void
worker_end_if_done(struct worker *worker, int64_t now_ms)
{
    if (worker->connection_count == 0 || now_ms >= worker->stop_at_ms) {
        if (worker->calls == 0)
            event_base_loopbreak(worker->base);
    }
}

static void
worker_on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;
    struct server *server = worker->server;
    int64_t now_ms = lk_clock_monotonic_ms();

    (void)fd;
    (void)what;
    for (struct connection *c = worker->connections; c != NULL; c = c->next)
        if (c->until_ms != 0 && (now_ms >= c->until_ms || worker->stopping))
            connection_shut(c);
    if (worker->stopping)
        worker_end_if_done(worker, now_ms);
    else if (atomic_load(&server->connections) < server->connections_max)
        evconnlistener_enable(worker->listener);
}

static void
worker_on_stop(void *arg)
{
    static const struct timeval soon = {.tv_sec = 0, .tv_usec = 20000};
    struct worker *worker = arg;

    worker->stopping = true;
    worker->stop_at_ms = lk_clock_monotonic_ms() + STOP_TIME_MS;
    evconnlistener_disable(worker->listener);
    event_del(worker->tick);
    event_add(worker->tick, &soon);
}

static void *
worker_main(void *arg)
{
    struct worker *worker = arg;

    event_base_dispatch(worker->base);
    return NULL;
}

static int
socket_open(const struct addrinfo *address, bool shared)
{
    static const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        /* Without it keep-alive answers over TLS wait 40 ms for a delayed acknowledgement. Accepted
         * sockets inherit it. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/**
 * With SO_REUSEPORT a second program could take half of our connections and nobody would notice, so
 * the port is tried without it first.
 */
static enum lk_err
port_try(const struct addrinfo *address)
{
    int fd = socket_open(address, false);

    if (fd < 0)
        return errno == EADDRINUSE ? LK_ERR_EXISTS : LK_ERR_IO;
    close(fd);
    return LK_OK;
}

/**
 * No files left, for instance. The socket stays readable, so without a pause the loop would turn
 * without end; the tick enables the listener again.
 */
static void
on_accept_error(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    lk_log(LK_LOG_WARN, "server what=accept err=IO %s", strerror(errno));
    evconnlistener_disable(listener);
}

static enum lk_err
worker_listen(struct worker *worker, const struct addrinfo *address)
{
    struct evhttp_bound_socket *bound;
    int fd = socket_open(address, true);

    if (fd < 0)
        return LK_ERR_IO;
    bound = evhttp_accept_socket_with_handle(worker->http, fd);
    if (bound == NULL) {
        close(fd);
        return LK_ERR_NOMEM;
    }
    worker->listener = evhttp_bound_socket_get_listener(bound);
    evconnlistener_set_error_cb(worker->listener, on_accept_error);
    return LK_OK;
}

static enum lk_err
worker_open(struct worker *worker, const struct addrinfo *address)
{
    static const struct timeval second = {.tv_sec = TICK_S};
    uint8_t random[4];
    enum lk_err err = lk_crypto_random(LK_BUF_OF(random));

    if (err != LK_OK)
        return err;
    snprintf(worker->id_prefix, sizeof(worker->id_prefix), "%02x%02x%02x%02x", random[0], random[1],
             random[2], random[3]);
    worker->base = event_base_new();
    worker->http = worker->base == NULL ? NULL : evhttp_new(worker->base);
    if (worker->http == NULL)
        return LK_ERR_NOMEM;
    worker->tick = event_new(worker->base, -1, EV_PERSIST, worker_on_tick, worker);
    if (worker->tick == NULL || event_add(worker->tick, &second) != 0)
        return LK_ERR_NOMEM;
    err = mailbox_new(worker->base, &worker->mailbox);
    if (err == LK_OK)
        err = store_reader_open(worker->service->store, &worker->db);
    if (err != LK_OK)
        return err;
    evhttp_set_bevcb(worker->http, on_accept, worker);
    evhttp_set_gencb(worker->http, call_on_request, worker);
    evhttp_set_max_headers_size(worker->http, HTTP_HEADERS_MAX);
    evhttp_set_max_body_size(worker->http, HTTP_BODY_READ_MAX);
    evhttp_set_timeout(worker->http, EVHTTP_TIME_S);
    /* A body that is too long is read and thrown away, so that the client gets to see the 413. */
    evhttp_set_flags(worker->http, EVHTTP_SERVER_LINGERING_CLOSE);
    /* All of them: a method a path does not have is answered by us, with Allow. */
    evhttp_set_allowed_methods(worker->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                                 EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                                 EVHTTP_REQ_PATCH | EVHTTP_REQ_OPTIONS |
                                                 EVHTTP_REQ_TRACE | EVHTTP_REQ_CONNECT);
    return worker_listen(worker, address);
}

static void
worker_close(struct worker *worker)
{
    if (worker->http != NULL)
        evhttp_free(worker->http); /* with listener and connections */
    if (worker->tick != NULL)
        event_free(worker->tick);
    mailbox_free(worker->mailbox);
    store_reader_close(worker->db);
    while (worker->spare != NULL) {
        struct http_inner *next = worker->spare->next;

        free(worker->spare);
        worker->spare = next;
    }
    if (worker->base != NULL)
        event_base_free(worker->base);
}

/* --- The server
 * ----------------------------------------------------------------------------------- */

static enum lk_err
workers_open(struct server *server, const struct config *config)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *address = NULL;
    char port[8];
    enum lk_err err;

    snprintf(port, sizeof(port), "%u", config->listen_port);
    if (getaddrinfo(config->listen_host[0] == '\0' ? NULL : config->listen_host, port, &hints,
                    &address) != 0) {
        lk_log(LK_LOG_ERROR, "server err=ARG [server] listen: %s is no address of this machine",
               lk_log_text(config->listen_host));
        return LK_ERR_ARG;
    }
    err = port_try(address);
    for (size_t i = 0; i < server->worker_count && err == LK_OK; i++)
        err = worker_open(&server->workers[i], address);
    freeaddrinfo(address);
    if (err != LK_OK)
        lk_log(LK_LOG_ERROR, "server listen=%s:%s err=%s %s", lk_log_text(config->listen_host),
               port, lk_err_name(err),
               err == LK_ERR_EXISTS ? "another program listens there" : lk_err_text(err));
    return err;
}

/** A connection is a file. @return how many connections the system's limit leaves us. */
static unsigned
connections_fit(unsigned wanted)
{
    struct rlimit limit;
    rlim_t need = (rlim_t)wanted + HTTP_FILES_SPARE;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return wanted;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == need)
        return wanted;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= HTTP_FILES_SPARE)
        return 1;
    lk_log(LK_LOG_WARN,
           "server connections=%llu instead of %u: the system allows no more open files",
           (unsigned long long)(limit.rlim_cur - HTTP_FILES_SPARE), wanted);
    return (unsigned)(limit.rlim_cur - HTTP_FILES_SPARE);
}

enum lk_err
server_new(struct service *service, const struct router *router, struct server **out)
{
    struct server *server = calloc(1, sizeof(*server));
    struct config *config = service_config_hold(service);
    enum lk_err err = LK_ERR_NOMEM;

    *out = NULL;
    pthread_once(&ex_once, ex_register);
    if (server == NULL || ex_index < 0)
        goto out;
    pthread_mutex_init(&server->tls_lock, NULL);
    server->service = service;
    server->router = router;
    server->connections_max = connections_fit(config->limits.connections);
    server->workers = calloc(config->workers, sizeof(*server->workers));
    if (server->workers == NULL)
        goto out;
    server->worker_count = config->workers;
    for (size_t i = 0; i < server->worker_count; i++) {
        server->workers[i].service = service;
        server->workers[i].server = server;
        server->workers[i].router = router;
    }
    err = server_load_tls(server, config);
    if (err == LK_OK)
        err = workers_open(server, config);
    if (err != LK_OK)
        goto out;
    *out = server;
    server = NULL;
out:
    server_free(server);
    config_drop(config);
    return err;
}

enum lk_err
server_start(struct server *server)
{
    for (size_t i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];

        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
            return LK_ERR_UNAVAILABLE;
        worker->runs = true;
    }
    return LK_OK;
}

void
server_stop(struct server *server)
{
    atomic_store(&server->stopping, true);
    for (size_t i = 0; i < server->worker_count; i++) {
        struct worker *worker = &server->workers[i];

        if (worker->runs) {
            worker->stop_letter = (struct letter){.run = worker_on_stop, .arg = worker};
            mailbox_post(worker->mailbox, &worker->stop_letter);
        }
    }
    for (size_t i = 0; i < server->worker_count; i++) {
        if (server->workers[i].runs)
            pthread_join(server->workers[i].thread, NULL);
        server->workers[i].runs = false;
    }
}

void
server_free(struct server *server)
{
    if (server == NULL)
        return;
    for (size_t i = 0; i < server->worker_count; i++)
        worker_close(&server->workers[i]);
    free(server->workers);
    SSL_CTX_free(server->tls);
    pthread_mutex_destroy(&server->tls_lock);
    free(server);
}

bool
server_is_stopping(const struct server *server)
{
    return atomic_load(&server->stopping);
}
