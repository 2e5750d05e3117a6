/*
 * certificate.h - the client's certificate of a TLS connection. The only file of the plugin that
 * sees OpenSSL: the broker hands the certificate over as OpenSSL has it.
 *
 * The broker asks for one where require_certificate is on, and then has verified its chain; the
 * handshake has proven that the client holds its key. Of a WebSocket 2.0 has none to give.
 */
#ifndef PLUGIN_CERTIFICATE_H
#define PLUGIN_CERTIFICATE_H

#include <latchkey/key.h>

struct mosquitto;

struct certificate {
    void *x509;
    uint8_t *made; /* owned by OpenSSL's allocator */
    struct lk_span der;
};

/** @return LK_OK; LK_ERR_BOUND: the client has shown none; LK_ERR_CRYPTO. Close it in any case. */
LK_MUST_CHECK enum lk_err certificate_open(struct certificate *c, const struct mosquitto *client);
void certificate_close(struct certificate *c);

/** Its public key, for comparison only: not opened. @return LK_OK, LK_ERR_UNSUPPORTED. */
LK_MUST_CHECK enum lk_err certificate_key(const struct certificate *c, struct lk_key *key);

#endif
