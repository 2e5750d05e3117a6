#include "certificate.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "compat.h"

enum lk_err
certificate_open(struct certificate *c, const struct mosquitto *client)
{
    int len;

    *c = (struct certificate){.x509 = mosquitto_client_certificate(client)};
    if (c->x509 == NULL)
        return LK_ERR_BOUND;
    len = i2d_X509(c->x509, &c->made);
    if (len <= 0)
        return LK_ERR_CRYPTO;
    c->der = lk_span_of(c->made, (size_t)len);
    return LK_OK;
}

void
certificate_close(struct certificate *c)
{
    OPENSSL_free(c->made);
    X509_free(c->x509);
    *c = (struct certificate){NULL, NULL, {NULL, 0}};
}

/* Uncompressed, as every certificate we met has it; a compressed point is not taken. */
static enum lk_err
p256_key(EVP_PKEY *pkey, struct lk_key *key)
{
    uint8_t point[65];
    char group[32];
    size_t len = 0;

    if (EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                       NULL) != 1 ||
        strcmp(group, SN_X9_62_prime256v1) != 0 ||
        EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point),
                                        &len) != 1 ||
        len != sizeof(point) || point[0] != 4)
        return LK_ERR_UNSUPPORTED;
    key->alg = LK_ALG_ES256;
    memcpy(key->u.ec.x, point + 1, 32);
    memcpy(key->u.ec.y, point + 33, 32);
    return LK_OK;
}

static enum lk_err
ed25519_key(EVP_PKEY *pkey, struct lk_key *key)
{
    size_t len = sizeof(key->u.okp.x);

    if (EVP_PKEY_get_raw_public_key(pkey, key->u.okp.x, &len) != 1 || len != sizeof(key->u.okp.x))
        return LK_ERR_UNSUPPORTED;
    key->alg = LK_ALG_EDDSA;
    return LK_OK;
}

static enum lk_err
rsa_key(EVP_PKEY *pkey, struct lk_key *key)
{
    BIGNUM *n = NULL, *e = NULL;
    enum lk_err err = LK_ERR_UNSUPPORTED;

    if (EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &n) != 1 ||
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &e) != 1 ||
        BN_num_bytes(n) > (int)sizeof(key->u.rsa.n) || BN_num_bytes(e) > (int)sizeof(key->u.rsa.e))
        goto out;
    key->alg = LK_ALG_RS256;
    key->u.rsa.n_len = (size_t)BN_bn2bin(n, key->u.rsa.n);
    key->u.rsa.e_len = (size_t)BN_bn2bin(e, key->u.rsa.e);
    err = LK_OK;
out:
    BN_free(n);
    BN_free(e);
    return err;
}

enum lk_err
certificate_key(const struct certificate *c, struct lk_key *key)
{
    EVP_PKEY *pkey = X509_get0_pubkey(c->x509);

    memset(key, 0, sizeof(*key));
    if (pkey == NULL)
        return LK_ERR_UNSUPPORTED;
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_EC:
        return p256_key(pkey, key);
    case EVP_PKEY_ED25519:
        return ed25519_key(pkey, key);
    case EVP_PKEY_RSA:
        return rsa_key(pkey, key);
    default:
        return LK_ERR_UNSUPPORTED;
    }
}
