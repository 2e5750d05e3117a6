#include <latchkey/device/tls_mbedtls.h>

#include <string.h>

#include <mbedtls/version.h>
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#include <psa/crypto.h>
#endif

enum state { STATE_CLOSED, STATE_TCP, STATE_HANDSHAKE, STATE_OPEN };

/* ---- randomness and bytes, as mbedTLS asks for them ---- */

static int
random_fill(void *ctx, unsigned char *out, size_t len)
{
    const struct lk_random *random = ctx;

    return random->fill(random->ctx, (struct lk_buf){out, len}) == LK_OK
               ? 0
               : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int
below_error(struct lk_tls_link *l, enum lk_err err, int busy)
{
    if (err == LK_ERR_BUSY)
        return busy;
    l->below_err = err;
    return err == LK_ERR_CLOSED ? MBEDTLS_ERR_SSL_CONN_EOF : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

static int
below_send(void *ctx, const unsigned char *bytes, size_t len)
{
    struct lk_tls_link *l = ctx;
    size_t sent = 0;
    enum lk_err err = l->below.write(l->below.ctx, lk_span_of(bytes, len), &sent);

    return err == LK_OK ? (int)sent : below_error(l, err, MBEDTLS_ERR_SSL_WANT_WRITE);
}

static int
below_receive(void *ctx, unsigned char *room, size_t cap)
{
    struct lk_tls_link *l = ctx;
    size_t len = 0;
    enum lk_err err = l->below.read(l->below.ctx, (struct lk_buf){room, cap}, &len);

    return err == LK_OK ? (int)len : below_error(l, err, MBEDTLS_ERR_SSL_WANT_READ);
}

/* ---- the certificate ---- */

static int
compare(int a, int b)
{
    return (a > b) - (a < b);
}

/* The order of a certificate's time and a time in seconds, found by taking the latter apart. */
static int
compare_time(const mbedtls_x509_time *t, int64_t now_s)
{
    int64_t days = now_s / 86400, left = now_s % 86400;
    /* Civil date from days: years begin in March, so the leap day comes last; 146097 days are
     * 400 years. */
    int64_t shifted = days + 719468;
    int64_t era = shifted / 146097, day_of_era = shifted % 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * day_of_year + 2) / 153;
    int day = (int)(day_of_year - (153 * from_march + 2) / 5 + 1);
    int month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);
    int year = (int)(year_of_era + era * 400 + (month <= 2 ? 1 : 0));
    int order = compare(t->year, year);

    if (order == 0)
        order = compare(t->mon, month);
    if (order == 0)
        order = compare(t->day, day);
    if (order == 0)
        order = compare(t->hour * 3600 + t->min * 60 + t->sec, (int)left);
    return order;
}

static uint32_t
check_dates(struct lk_tls_link *l, const mbedtls_x509_crt *crt)
{
    const struct lk_tls_config *c = &l->tls->config;
    int64_t now_s = c->wall_s != NULL ? c->wall_s(c->wall_ctx) : 0;

    if (now_s <= 0) {
        if (c->dates == LK_TLS_DATES_IF_KNOWN)
            return 0;
        l->no_clock = true;
        return MBEDTLS_X509_BADCERT_OTHER;
    }
    if (compare_time(&crt->valid_to, now_s) < 0)
        return MBEDTLS_X509_BADCERT_EXPIRED;
    if (compare_time(&crt->valid_from, now_s) > 0)
        return MBEDTLS_X509_BADCERT_FUTURE;
    return 0;
}

/* RFC 5280 section 4.2.1.6: iPAddress is [7], four bytes in network order. mbedTLS 2.28 does not
 * look at it, 3.6 does; so it is looked at here for both. */
static bool
has_ipv4(const mbedtls_x509_crt *crt, const uint8_t *ipv4)
{
    const mbedtls_x509_sequence *san;

    for (san = &crt->subject_alt_names; san != NULL; san = san->next) {
        if ((san->buf.tag & 0x1f) == 7 && san->buf.len == 4 && memcmp(san->buf.p, ipv4, 4) == 0)
            return true;
    }
    return false;
}

static int
check_certificate(void *ctx, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
    struct lk_tls_link *l = ctx;

    /* mbedTLS may have no clock, or another one than the caller's: ours decides. */
    *flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    *flags |= check_dates(l, crt);
    if (depth == 0 && l->host_is_ipv4 && !has_ipv4(crt, l->ipv4))
        *flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
    l->verify |= *flags;
    return 0;
}

static enum lk_err
certificate_error(const struct lk_tls_link *l)
{
    const uint32_t dates = MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE;

    if ((l->verify & ~(dates | MBEDTLS_X509_BADCERT_OTHER)) != 0)
        return LK_ERR_ISSUER;
    if (l->no_clock)
        return LK_ERR_CLOCK;
    if ((l->verify & MBEDTLS_X509_BADCERT_EXPIRED) != 0)
        return LK_ERR_EXPIRED;
    return (l->verify & MBEDTLS_X509_BADCERT_FUTURE) != 0 ? LK_ERR_NOT_YET : LK_ERR_ISSUER;
}

/* ---- the transport ---- */

/* One place where mbedTLS' answers become ours. */
static enum lk_err
translate(struct lk_tls_link *l, int rc)
{
    unsigned usual = rc == MBEDTLS_ERR_SSL_WANT_WRITE ? LK_WANT_WRITE : LK_WANT_READ;

    switch (rc) {
    case MBEDTLS_ERR_SSL_WANT_READ:
    case MBEDTLS_ERR_SSL_WANT_WRITE:
        l->wants = l->below.wants != NULL ? l->below.wants(l->below.ctx) : usual;
        return LK_ERR_BUSY;
    case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
        return LK_ERR_CLOSED;
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
        return LK_ERR_NOMEM;
    case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
        return certificate_error(l);
    default:
        /* An end without close_notify is a cut, not an end: but both close the connection. */
        return l->below_err != LK_OK ? l->below_err : LK_ERR_CRYPTO;
    }
}

static bool
is_again(int rc)
{
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    /* TLS 1.3: a ticket came instead of data; nothing is wrong, read on. */
    return rc == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
    (void)rc;
    return false;
#endif
}

static enum lk_err
begin_handshake(struct lk_tls_link *l)
{
    int rc = mbedtls_ssl_setup(&l->ssl, &l->tls->conf);

    /* RFC 6066 section 3: an address is no server name. */
    if (rc == 0)
        rc = mbedtls_ssl_set_hostname(&l->ssl, l->host_is_ipv4 ? NULL : l->host);
    if (rc != 0)
        return rc == MBEDTLS_ERR_SSL_ALLOC_FAILED ? LK_ERR_NOMEM : LK_ERR_CRYPTO;
    mbedtls_ssl_set_bio(&l->ssl, l, below_send, below_receive, NULL);
    mbedtls_ssl_set_verify(&l->ssl, check_certificate, l);
    l->state = STATE_HANDSHAKE;
    return LK_OK;
}

static enum lk_err
tls_open(void *ctx)
{
    struct lk_tls_link *l = ctx;
    enum lk_err err;
    int rc;

    if (l->state == STATE_CLOSED) {
        l->below_err = LK_OK;
        l->no_clock = false;
        l->pending = 0;
        l->verify = 0;
        l->state = STATE_TCP;
    }
    if (l->state == STATE_TCP) {
        err = l->below.open(l->below.ctx);
        if (err == LK_ERR_BUSY)
            l->wants = l->below.wants != NULL ? l->below.wants(l->below.ctx) : LK_WANT_WRITE;
        if (err != LK_OK)
            return err;
        err = begin_handshake(l);
        if (err != LK_OK)
            return err;
    }
    if (l->state == STATE_HANDSHAKE) {
        rc = mbedtls_ssl_handshake(&l->ssl);
        if (rc != 0)
            return translate(l, rc);
        l->state = STATE_OPEN;
    }
    return LK_OK;
}

static enum lk_err
tls_read(void *ctx, struct lk_buf room, size_t *len)
{
    struct lk_tls_link *l = ctx;
    int rc;

    *len = 0;
    if (l->state != STATE_OPEN)
        return LK_ERR_STATE;
    do {
        rc = mbedtls_ssl_read(&l->ssl, room.ptr, room.cap);
    } while (is_again(rc));
    if (rc == 0)
        return LK_ERR_CLOSED;
    if (rc < 0)
        return translate(l, rc);
    *len = (size_t)rc;
    return LK_OK;
}

static enum lk_err
tls_write(void *ctx, struct lk_span bytes, size_t *len)
{
    struct lk_tls_link *l = ctx;
    size_t want = bytes.len;
    int rc;

    *len = 0;
    if (l->state != STATE_OPEN)
        return LK_ERR_STATE;
    /* After WANT_WRITE mbedTLS holds the record and must be called with the same length: it would
     * take a longer one for sent. */
    if (l->pending > 0 && l->pending < want)
        want = l->pending;
    rc = mbedtls_ssl_write(&l->ssl, bytes.ptr, want);
    l->pending = rc == MBEDTLS_ERR_SSL_WANT_WRITE ? want : 0;
    if (rc < 0)
        return translate(l, rc);
    *len = (size_t)rc;
    return LK_OK;
}

static void
tls_close(void *ctx)
{
    struct lk_tls_link *l = ctx;

    if (l->state == STATE_OPEN && l->below_err == LK_OK && l->pending == 0)
        (void)mbedtls_ssl_close_notify(&l->ssl); /* a courtesy; what does not fit is lost */
    mbedtls_ssl_free(&l->ssl);
    mbedtls_ssl_init(&l->ssl);
    l->below.close(l->below.ctx);
    l->state = STATE_CLOSED;
}

static unsigned
tls_wants(void *ctx)
{
    const struct lk_tls_link *l = ctx;

    return l->wants;
}

/* ---- calls ---- */

/* "192.0.2.7" and nothing else; anything else is a name. */
static bool
parse_ipv4(const char *text, uint8_t *out)
{
    unsigned value, i;

    for (i = 0; i < 4; i++) {
        if (*text < '0' || *text > '9')
            return false;
        for (value = 0; *text >= '0' && *text <= '9'; text++) {
            value = value * 10 + (unsigned)(*text - '0');
            if (value > 255)
                return false;
        }
        if (*text != (i < 3 ? '.' : '\0'))
            return false;
        out[i] = (uint8_t)value;
        text++;
    }
    return true;
}

static int
configure(struct lk_tls *tls)
{
    int rc = mbedtls_ssl_config_defaults(&tls->conf, MBEDTLS_SSL_IS_CLIENT,
                                         MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);

    if (rc != 0)
        return rc;
    mbedtls_ssl_conf_authmode(&tls->conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(&tls->conf, &tls->ca, NULL);
    mbedtls_ssl_conf_rng(&tls->conf, random_fill, &tls->config.random);
#if MBEDTLS_VERSION_NUMBER >= 0x03000000
    mbedtls_ssl_conf_min_tls_version(&tls->conf, MBEDTLS_SSL_VERSION_TLS1_2);
    /* TLS 1.3 computes with PSA even where the application does not. */
    return psa_crypto_init() == PSA_SUCCESS ? 0 : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
#else
    mbedtls_ssl_conf_min_version(&tls->conf, MBEDTLS_SSL_MAJOR_VERSION_3,
                                 MBEDTLS_SSL_MINOR_VERSION_3);
    return 0;
#endif
}

enum lk_err
lk_tls_init(struct lk_tls *tls, const struct lk_tls_config *config)
{
    memset(tls, 0, sizeof(*tls));
    tls->config = *config;
    mbedtls_ssl_config_init(&tls->conf);
    mbedtls_x509_crt_init(&tls->ca);
    if (config->random.fill == NULL)
        return LK_ERR_ARG;
    if (mbedtls_x509_crt_parse(&tls->ca, config->ca.ptr, config->ca.len) != 0)
        return LK_ERR_MALFORMED;
    return configure(tls) == 0 ? LK_OK : LK_ERR_CRYPTO;
}

void
lk_tls_wipe(struct lk_tls *tls)
{
    mbedtls_ssl_config_free(&tls->conf);
    mbedtls_x509_crt_free(&tls->ca);
    lk_wipe(tls, sizeof(*tls));
}

void
lk_tls_link_init(struct lk_tls_link *link, struct lk_tls *tls, struct lk_transport below,
                 const char *host)
{
    memset(link, 0, sizeof(*link));
    link->tls = tls;
    link->below = below;
    link->host = host;
    link->host_is_ipv4 = parse_ipv4(host, link->ipv4);
    link->state = STATE_CLOSED;
    mbedtls_ssl_init(&link->ssl);
}

struct lk_transport
lk_tls_link_transport(struct lk_tls_link *link)
{
    return (struct lk_transport){
        .open = tls_open,
        .read = tls_read,
        .write = tls_write,
        .close = tls_close,
        .wants = tls_wants,
        .ctx = link,
    };
}

void
lk_tls_link_wipe(struct lk_tls_link *link)
{
    if (link->below.close != NULL)
        tls_close(link);
    mbedtls_ssl_free(&link->ssl);
    lk_wipe(link, sizeof(*link));
}
