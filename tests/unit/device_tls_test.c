/*
 * The TLS port against OpenSSL: a real handshake over a real socket, with certificates that are
 * good but for one thing.
 */
#include <latchkey/device/posix.h>
#include <latchkey/device/tls_mbedtls.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmocka_all.h"

#define NOW_S 1800000000 /* the test's own time: 2027-01-15 */
#define DAY_S 86400

struct authority {
    EVP_PKEY *key;
    X509 *crt;
};

static struct authority ours, theirs;
static struct lk_span ca_pem;
static int64_t wall_now_s;

static void
add_extension(X509 *crt, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, crt, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, (char *)(uintptr_t)value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(crt, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *
make_certificate(EVP_PKEY *key, const char *name, const char *san, int64_t from_s, int64_t to_s,
                 const struct authority *by)
{
    static long serial;
    X509 *crt = X509_new();
    X509_NAME *subject = X509_get_subject_name(crt);

    X509_set_version(crt, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(crt), ++serial);
    ASN1_TIME_set(X509_getm_notBefore(crt), (time_t)from_s);
    ASN1_TIME_set(X509_getm_notAfter(crt), (time_t)to_s);
    X509_set_pubkey(crt, key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(crt, by != NULL ? X509_get_subject_name(by->crt) : subject);
    if (by == NULL)
        add_extension(crt, crt, NID_basic_constraints, "critical,CA:TRUE");
    if (san != NULL)
        add_extension(crt, by->crt, NID_subject_alt_name, san);
    assert_true(X509_sign(crt, by != NULL ? by->key : key, EVP_sha256()) > 0);
    return crt;
}

static int
make_authorities(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem;
    long len;
    static char text[4096];

    (void)state;
    ours.key = EVP_EC_gen("P-256");
    theirs.key = EVP_EC_gen("P-256");
    ours.crt = make_certificate(ours.key, "our CA", NULL, NOW_S - DAY_S, NOW_S + DAY_S, NULL);
    theirs.crt = make_certificate(theirs.key, "our CA", NULL, NOW_S - DAY_S, NOW_S + DAY_S, NULL);
    PEM_write_bio_X509(bio, ours.crt);
    len = BIO_get_mem_data(bio, &pem);
    memcpy(text, pem, (size_t)len);
    ca_pem = lk_span_of(text, (size_t)len + 1);
    BIO_free(bio);
    return 0;
}

static int
drop_authorities(void **state)
{
    (void)state;
    X509_free(ours.crt);
    X509_free(theirs.crt);
    EVP_PKEY_free(ours.key);
    EVP_PKEY_free(theirs.key);
    return 0;
}

/* ---- the server: one connection, echoes what it hears ---- */

struct server {
    pthread_t thread;
    int listener;
    char port[6];
    SSL_CTX *ctx;
    int version; /* highest */
};

static void *
serve(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    SSL *ssl = SSL_new(s->ctx);
    char bytes[65536];
    int len;

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1) {
        while ((len = SSL_read(ssl, bytes, sizeof(bytes))) > 0)
            SSL_write(ssl, bytes, len);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    close(fd);
    return NULL;
}

static void
server_open(struct server *s, X509 *crt, EVP_PKEY *key, int version)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    s->ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_max_proto_version(s->ctx, version);
    SSL_CTX_set_min_proto_version(s->ctx, 0);
    SSL_CTX_set_security_level(s->ctx, 0);
    assert_int_equal(SSL_CTX_use_certificate(s->ctx, crt), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(s->ctx, key), 1);
    s->listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(listen(s->listener, 1), 0);
    snprintf(s->port, sizeof(s->port), "%u", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void
server_close(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
    SSL_CTX_free(s->ctx);
}

/* ---- the client ---- */

static int64_t
test_wall_s(void *ctx)
{
    (void)ctx;
    return wall_now_s;
}

struct client {
    struct lk_posix_tcp tcp;
    struct lk_tls tls;
    struct lk_tls_link link;
    struct lk_transport transport;
};

static void
client_open(struct client *c, const char *host, const char *port, enum lk_tls_dates dates)
{
    struct lk_tls_config config = {
        .ca = ca_pem, .random = lk_posix_random(), .wall_s = test_wall_s, .dates = dates};

    assert_err("tls", lk_tls_init(&c->tls, &config), LK_OK);
    lk_posix_tcp_init(&c->tcp, "127.0.0.1", port);
    lk_tls_link_init(&c->link, &c->tls, lk_posix_tcp_transport(&c->tcp), host);
    c->transport = lk_tls_link_transport(&c->link);
}

static void
client_close(struct client *c)
{
    lk_tls_link_wipe(&c->link);
    lk_tls_wipe(&c->tls);
}

static void
client_wait(struct client *c)
{
    struct lk_device_want want = {.link_io = c->transport.wants(c->transport.ctx),
                                  .until_ms = lk_posix_now_ms() + 10000};

    assert_true(want.link_io != 0);
    lk_posix_wait(&want, &c->tcp, &c->tcp);
}

static enum lk_err
client_connect(struct client *c)
{
    enum lk_err err;

    while ((err = c->transport.open(c->transport.ctx)) == LK_ERR_BUSY)
        client_wait(c);
    return err;
}

#define GOOD_SAN "DNS:broker.example,IP:127.0.0.1"

static const struct {
    const char *name, *host, *san;
    int64_t from_s, to_s, wall_s;
    bool stranger; /* signed by another CA of the same name */
    enum lk_tls_dates dates;
    int version;
    enum lk_err want;
} rows[] = {
    {"good, by name", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_OK},
    {"good, by address", "127.0.0.1", GOOD_SAN, NOW_S - 10, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_OK},
    {"good, server offers TLS 1.3", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, NOW_S,
     false, LK_TLS_DATES_REQUIRED, TLS1_3_VERSION, LK_OK},
    {"wildcard", "broker.example", "DNS:*.example", NOW_S - 10, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_OK},
    {"another name", "other.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_ISSUER},
    {"another address", "127.0.0.2", GOOD_SAN, NOW_S - 10, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_ISSUER},
    {"address only as a DNS name", "127.0.0.1", "DNS:127.0.0.1", NOW_S - 10, NOW_S + 10, NOW_S,
     false, LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_ISSUER},
    {"another CA of the same name", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, NOW_S, true,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_ISSUER},
    {"last valid second", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_OK},
    {"expired", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S - 1, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_EXPIRED},
    {"first valid second", "broker.example", GOOD_SAN, NOW_S, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_OK},
    {"not yet valid", "broker.example", GOOD_SAN, NOW_S + 1, NOW_S + 10, NOW_S, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_NOT_YET},
    {"no clock", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, 0, false,
     LK_TLS_DATES_REQUIRED, TLS1_2_VERSION, LK_ERR_CLOCK},
    {"no clock, dates if known", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S - 1, 0, false,
     LK_TLS_DATES_IF_KNOWN, TLS1_2_VERSION, LK_OK},
    {"dates if known, and known", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S - 1, NOW_S, false,
     LK_TLS_DATES_IF_KNOWN, TLS1_2_VERSION, LK_ERR_EXPIRED},
    {"no clock, another CA all the same", "broker.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, 0,
     true, LK_TLS_DATES_IF_KNOWN, TLS1_2_VERSION, LK_ERR_ISSUER},
    {"no clock, another name all the same", "other.example", GOOD_SAN, NOW_S - 10, NOW_S + 10, 0,
     false, LK_TLS_DATES_IF_KNOWN, TLS1_2_VERSION, LK_ERR_ISSUER},
};

static void
certificates_are_checked(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        X509 *crt = make_certificate(key, "server", rows[i].san, rows[i].from_s, rows[i].to_s,
                                     rows[i].stranger ? &theirs : &ours);
        static struct client c;
        struct server s;

        wall_now_s = rows[i].wall_s;
        server_open(&s, crt, key, rows[i].version);
        client_open(&c, rows[i].host, s.port, rows[i].dates);
        assert_err(rows[i].name, client_connect(&c), rows[i].want);
        client_close(&c);
        server_close(&s);
        X509_free(crt);
    }
    EVP_PKEY_free(key);
}

static void
tls_1_1_is_refused(void **state)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *crt = make_certificate(key, "server", GOOD_SAN, NOW_S - 10, NOW_S + 10, &ours);
    static struct client c;
    struct server s;

    (void)state;
    wall_now_s = NOW_S;
    server_open(&s, crt, key, TLS1_1_VERSION);
    client_open(&c, "broker.example", s.port, LK_TLS_DATES_REQUIRED);
    assert_err("TLS 1.1", client_connect(&c), LK_ERR_CRYPTO);
    client_close(&c);
    server_close(&s);
    X509_free(crt);
    EVP_PKEY_free(key);
}

/* More than the socket takes at once, so that writes are cut, and grown between two tries. */
static void
every_byte_arrives_once(void **state)
{
    enum { TOTAL = 4 << 20 };
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *crt = make_certificate(key, "server", GOOD_SAN, NOW_S - 10, NOW_S + 10, &ours);
    static uint8_t out[TOTAL], in[32768];
    static struct client c;
    struct server s;
    size_t sent = 0, heard = 0, offered = 1, len, i;
    enum lk_err wrote, read;

    (void)state;
    for (i = 0; i < TOTAL; i++)
        out[i] = (uint8_t)(i * 2654435761u >> 24);
    wall_now_s = NOW_S;
    server_open(&s, crt, key, TLS1_3_VERSION);
    client_open(&c, "broker.example", s.port, LK_TLS_DATES_REQUIRED);
    assert_err("connect", client_connect(&c), LK_OK);
    while (heard < TOTAL) {
        wrote = LK_ERR_BUSY;
        if (sent < TOTAL) {
            offered = offered % 50000 + 777; /* another length each time, also after BUSY */
            len = offered < TOTAL - sent ? offered : TOTAL - sent;
            wrote = c.transport.write(c.transport.ctx, lk_span_of(out + sent, len), &len);
            assert_true(wrote == LK_OK || wrote == LK_ERR_BUSY);
            sent += len;
        }
        read = c.transport.read(c.transport.ctx, LK_BUF_OF(in), &len);
        assert_true(read == LK_OK || read == LK_ERR_BUSY);
        assert_memory_equal(in, out + heard, len);
        heard += len;
        if (wrote == LK_ERR_BUSY && read == LK_ERR_BUSY) {
            struct pollfd p = {.fd = c.tcp.fd,
                               .events = (short)(POLLIN | (sent < TOTAL ? POLLOUT : 0))};

            assert_true(poll(&p, 1, 10000) == 1);
        }
    }
    client_close(&c);
    server_close(&s);
    X509_free(crt);
    EVP_PKEY_free(key);
}

static void
a_ca_that_is_none_is_refused(void **state)
{
    struct lk_tls tls;
    struct lk_tls_config config = {.ca = LK_SPAN("hello"), .random = lk_posix_random()};

    (void)state;
    assert_err("no CA", lk_tls_init(&tls, &config), LK_ERR_MALFORMED);
    lk_tls_wipe(&tls);
    config.random.fill = NULL;
    assert_err("no randomness", lk_tls_init(&tls, &config), LK_ERR_ARG);
    lk_tls_wipe(&tls);
}

static void
nobody_there(void **state)
{
    struct lk_posix_tcp tcp;
    struct lk_transport t;
    enum lk_err err;

    (void)state;
    lk_posix_tcp_init(&tcp, "127.0.0.1", "1");
    t = lk_posix_tcp_transport(&tcp);
    while ((err = t.open(t.ctx)) == LK_ERR_BUSY)
        continue;
    assert_err("port 1", err, LK_ERR_UNAVAILABLE);
    t.close(t.ctx);
    t.close(t.ctx);
    lk_posix_tcp_init(&tcp, "name.invalid", "1");
    assert_err("no such name", t.open(t.ctx), LK_ERR_NOT_FOUND);
    t.close(t.ctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_checked),
        cmocka_unit_test(tls_1_1_is_refused),
        cmocka_unit_test(every_byte_arrives_once),
        cmocka_unit_test(a_ca_that_is_none_is_refused),
        cmocka_unit_test(nobody_there),
    };

    signal(SIGPIPE, SIG_IGN); /* the server may write to a client that has refused it */
    return cmocka_run_group_tests(tests, make_authorities, drop_authorities);
}
