/*
 * latchkey/device/tls_mbedtls.h - TLS with mbedTLS 2.28 or 3.6 around any transport.
 *
 * The server's certificate is always checked: it must come from the given CA and be for the given
 * host (DNS name, or IPv4 address among its subject alternative names). There is no switch to leave
 * that out. TLS 1.2 at least.
 *
 * Dates. A device that has just been switched on may think it is 1970. Its choices:
 *   - give it a clock before it connects (battery, SNTP): LK_TLS_DATES_REQUIRED, the default;
 *   - LK_TLS_DATES_IF_KNOWN: while wall_s() answers 0, notBefore and notAfter are not looked at;
 *     everything else is. What that costs: until the clock is known, a certificate that has run out
 *     still opens the door, so a stolen key of an old certificate serves its thief for longer. The
 *     clock may then come from the server's Date header (lk_source_wall_s): no better than the
 *     certificate that brought it, but it stands from then on.
 *
 * mbedTLS takes its memory from its own heap (mbedtls_platform_set_calloc_free); nothing else of
 * the SDK uses one. Not here: client certificates, pre-shared keys, session resumption.
 */
#ifndef LATCHKEY_DEVICE_TLS_MBEDTLS_H
#define LATCHKEY_DEVICE_TLS_MBEDTLS_H

#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>

#include <latchkey/device/platform.h>

enum lk_tls_dates { LK_TLS_DATES_REQUIRED = 0, LK_TLS_DATES_IF_KNOWN };

struct lk_tls_config {
    struct lk_span ca; /* PEM, its terminating zero included, or DER; needed only during init */
    struct lk_random random;
    int64_t (*wall_s)(void *ctx); /* seconds since 1970, 0: not known; NULL: never known */
    void *wall_ctx;
    enum lk_tls_dates dates;
};

/** Whom to trust; may serve several links. Fields are its own. */
struct lk_tls {
    struct lk_tls_config config;
    mbedtls_ssl_config conf;
    mbedtls_x509_crt ca;
};

/** One connection. Fields are its own. */
struct lk_tls_link {
    struct lk_tls *tls;
    struct lk_transport below;
    const char *host;
    bool host_is_ipv4;
    uint8_t ipv4[4];
    mbedtls_ssl_context ssl;
    uint8_t state;
    bool no_clock;
    unsigned wants;
    enum lk_err below_err;
    size_t pending;  /* bytes of a write that mbedTLS has taken but not sent */
    uint32_t verify; /* MBEDTLS_X509_BADCERT_ flags of the last handshake */
};

/**
 * @return LK_OK; LK_ERR_ARG without randomness; LK_ERR_MALFORMED if the CA cannot be read;
 *         LK_ERR_CRYPTO. Needs lk_tls_wipe() in every case.
 */
LK_MUST_CHECK enum lk_err lk_tls_init(struct lk_tls *tls, const struct lk_tls_config *config);
void lk_tls_wipe(struct lk_tls *tls);

/**
 * @param below  a TCP transport.
 * @param host   terminated; borrowed. What the certificate must be for.
 *
 * Errors of the transport it makes: those of `below`; LK_ERR_ISSUER: certificate not from our CA or
 * not for this host; LK_ERR_EXPIRED, LK_ERR_NOT_YET: its dates; LK_ERR_CLOCK: dates are required
 * and the time is not known; LK_ERR_CRYPTO: everything else in TLS; LK_ERR_NOMEM.
 */
void lk_tls_link_init(struct lk_tls_link *link, struct lk_tls *tls, struct lk_transport below,
                      const char *host);
struct lk_transport lk_tls_link_transport(struct lk_tls_link *link);
void lk_tls_link_wipe(struct lk_tls_link *link);

#endif
