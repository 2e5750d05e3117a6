/*
 * bond.h - what a session's token is bound to (`cnf`), and so what every later one must be bound
 * to.
 *
 * Kind and print together say whether two tokens are bound to the same: a public key has one print
 * as jwk and as COSE_Key. A token without a bond is a bearer token.
 */
#ifndef PLUGIN_BOND_H
#define PLUGIN_BOND_H

#include <latchkey/cnf.h>
#include <latchkey/crypto.h>

struct mosquitto;

enum bond_kind {
    BOND_NONE,
    BOND_KEY, /* a public key, or a secret one that came encrypted */
    BOND_KID, /* the kid of a derived key */
    BOND_CERTIFICATE,
    BOND_CERTIFICATE_KEY
};

struct bond {
    enum bond_kind kind;
    uint8_t print[LK_SHA256_LEN];
    /* BOND_KID: the key that was proven. A token that updates another names its key by kid (RFC
     * 9202 section 4), and the client goes on using what it has. */
    uint8_t secret[LK_CNF_SECRET_LEN];
    /* A token that came by authz-info, for a CONNECT without one (RFC 9431 section 2.2.4.2). */
    uint8_t *token;
    size_t token_len;
};

/**
 * By the key in the token, of which the client is to prove possession (method `ace`).
 * @param key  [out] opened; wipe it. Zeroed on error.
 * @return LK_OK, LK_ERR_ALG for a key that neither signs with ES256 or Ed25519 nor makes HS256
 *         tags, and what lk_cnf_key says.
 */
LK_MUST_CHECK enum lk_err bond_by_key(struct bond *bond, const struct lk_verifier *verifier,
                                      const struct lk_token *token, const struct lk_cnf_use *use,
                                      struct lk_buf room, struct lk_key *key);

/** By the certificate of the connection: x5t#S256, or the thumbprint of its key. @return LK_OK,
 *  LK_ERR_BOUND (anything else; no certificate), LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err bond_by_certificate(struct bond *bond, const struct mosquitto *client,
                                              const struct lk_token *token, struct lk_buf room);

/** Do both bind to the same? NULL is a bearer token. */
bool bond_is_same(const struct bond *a, const struct bond *b);

/** A copy on the heap, with a copy of the text as its token (absent: none). NULL without memory. */
struct bond *bond_new(const struct bond *bond, struct lk_span token);
void bond_free(struct bond *bond);

#endif
