#include "bond.h"

#include <string.h>

#include <latchkey/cose_key.h>

#include "certificate.h"
#include "compat.h"

static bool
can_prove(enum lk_alg alg)
{
    return alg == LK_ALG_ES256 || alg == LK_ALG_EDDSA || alg == LK_ALG_HS256;
}

enum lk_err
bond_by_key(struct bond *bond, const struct lk_verifier *verifier, const struct lk_token *token,
            const struct lk_cnf_use *use, struct lk_buf room, struct lk_key *key)
{
    enum lk_err err = lk_cnf_key(verifier, token, use, room, key);

    memset(bond, 0, sizeof(*bond));
    if (err == LK_OK && !can_prove(key->alg))
        err = LK_ERR_ALG;
    if (err == LK_OK && token->claims.cnf == LK_CNF_KID) {
        bond->kind = BOND_KID;
        memcpy(bond->secret, key->u.oct.k, sizeof(bond->secret));
        err = lk_crypto_sha256(token->claims.cnf_value, bond->print);
    } else if (err == LK_OK) {
        bond->kind = BOND_KEY;
        err = lk_cose_key_thumbprint(key, bond->print);
    }
    if (err != LK_OK) {
        lk_key_wipe(key);
        lk_wipe(bond, sizeof(*bond));
    }
    return err;
}

static enum lk_err
match(struct bond *bond, const struct certificate *certificate, const struct lk_token *token,
      struct lk_buf room)
{
    struct lk_key key;
    enum lk_err err;

    if (token->claims.cnf == LK_CNF_X5T) {
        bond->kind = BOND_CERTIFICATE;
        err = lk_cnf_match_certificate(token, certificate->der);
        return err == LK_OK ? lk_certificate_thumbprint(certificate->der, bond->print) : err;
    }
    bond->kind = BOND_CERTIFICATE_KEY;
    if (certificate_key(certificate, &key) != LK_OK)
        return LK_ERR_BOUND;
    err = lk_cnf_match_key(token, &key, room);
    return err == LK_OK ? lk_cose_key_thumbprint(&key, bond->print) : err;
}

enum lk_err
bond_by_certificate(struct bond *bond, const struct mosquitto *client, const struct lk_token *token,
                    struct lk_buf room)
{
    struct certificate certificate;
    enum lk_err err;

    memset(bond, 0, sizeof(*bond));
    if (token->claims.cnf != LK_CNF_X5T && token->claims.cnf != LK_CNF_THUMBPRINT)
        return LK_ERR_BOUND;
    err = certificate_open(&certificate, client);
    if (err == LK_OK)
        err = match(bond, &certificate, token, room);
    certificate_close(&certificate);
    if (err != LK_OK)
        memset(bond, 0, sizeof(*bond));
    return err;
}

bool
bond_is_same(const struct bond *a, const struct bond *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return a->kind == b->kind && lk_equal_ct(lk_span_of(a->print, sizeof(a->print)),
                                             lk_span_of(b->print, sizeof(b->print)));
}

struct bond *
bond_new(const struct bond *bond, struct lk_span token)
{
    struct bond *copy = mosquitto_calloc(1, sizeof(*copy));

    if (copy == NULL)
        return NULL;
    *copy = *bond;
    copy->token = NULL;
    copy->token_len = 0;
    if (token.len == 0)
        return copy;
    copy->token = mosquitto_malloc(token.len);
    if (copy->token == NULL) {
        bond_free(copy);
        return NULL;
    }
    memcpy(copy->token, token.ptr, token.len);
    copy->token_len = token.len;
    return copy;
}

void
bond_free(struct bond *bond)
{
    if (bond == NULL)
        return;
    mosquitto_free(bond->token);
    lk_wipe(bond, sizeof(*bond));
    mosquitto_free(bond);
}
