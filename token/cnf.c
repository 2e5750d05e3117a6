#include <latchkey/cnf.h>

#include "cnf_check.h"
#include "cose_key_labels.h"
#include "json_find.h"

#include <string.h>

#include <latchkey/cose_encrypt.h>
#include <latchkey/cose_key.h>
#include <latchkey/crypto.h>
#include <latchkey/jwk.h>

/* 0: there is none we know by number. */
static int64_t
cose_kty(struct lk_span in)
{
    struct lk_cbor r;

    lk_cbor_open(&r, in);
    (void)lk_cbor_enter_map(&r);
    return lk_cbor_map_int(&r, KEY_KTY, 0);
}

/* A symmetric key, or one with a private part. What cannot be read could be either. */
static bool
cose_is_secret(struct lk_span in)
{
    int64_t kty;
    struct lk_cbor r;
    bool is_secret;

    lk_cbor_open(&r, in);
    (void)lk_cbor_enter_map(&r);
    kty = lk_cbor_map_int(&r, KEY_KTY, 0);
    is_secret = kty == KTY_OCT || lk_cbor_map_find(&r, kty == KTY_RSA ? KEY_RSA_D : KEY_D);
    return is_secret || r.err != LK_OK;
}

static bool
jwk_is_secret(struct lk_span in)
{
    uint8_t room[8];
    struct lk_span kty;

    return lk_json_has_member(in, LK_SPAN("d")) || lk_json_has_member(in, LK_SPAN("k")) ||
           (lk_json_find_text(in, LK_SPAN("kty"), LK_BUF_OF(room), &kty) && lk_span_is(kty, "oct"));
}

bool
lk_cnf_is_secret(const struct lk_claims *claims)
{
    if (claims->cnf != LK_CNF_KEY)
        return false;
    return claims->format == LK_FORMAT_JWT ? jwk_is_secret(claims->cnf_value)
                                           : cose_is_secret(claims->cnf_value);
}

/* A symmetric key is for the caller's use, or says that it is not. */
static enum lk_err
secret_check_use(struct lk_cbor *r, enum lk_alg use)
{
    if (lk_cbor_map_find(r, KEY_ALG)) {
        if (lk_cbor_peek(r) == LK_CBOR_TEXT || use == LK_ALG_NONE ||
            lk_alg_from_cose(lk_cbor_int(r)) != use)
            return LK_ERR_ALG;
    }
    return lk_cose_key_permits(r, use == LK_ALG_NONE ? OP_DERIVE : OP_MAC) ? LK_OK : LK_ERR_ALG;
}

/* Put a secret into a key for a use, and open it if it is to verify. */
static enum lk_err
secret_fill(struct lk_span secret, struct lk_span kid, enum lk_alg use, struct lk_key *key)
{
    enum lk_err err = LK_OK;

    if (secret.len == 0)
        return LK_ERR_KEY;
    if (secret.len > sizeof(key->u.oct.k) || kid.len > sizeof(key->kid))
        return LK_ERR_LIMIT;
    key->alg = use;
    key->has_private = true;
    memcpy(key->u.oct.k, secret.ptr, secret.len);
    key->u.oct.len = secret.len;
    if (kid.len > 0)
        memcpy(key->kid, kid.ptr, kid.len);
    key->kid_len = kid.len;
    if (use != LK_ALG_NONE)
        err = lk_key_open(key);
    if (err != LK_OK)
        lk_key_wipe(key);
    return err;
}

static enum lk_err
secret_read(struct lk_span in, enum lk_alg use, struct lk_key *key)
{
    struct lk_span secret, kid;
    struct lk_cbor r;
    enum lk_err err, end;

    lk_cbor_open(&r, in);
    (void)lk_cbor_enter_map(&r);
    err = secret_check_use(&r, use);
    secret = lk_cbor_map_bytes(&r, KEY_K);
    kid = lk_cbor_map_bytes(&r, KEY_KID);
    lk_cbor_leave_map(&r);
    end = lk_cbor_close(&r);
    if (end != LK_OK)
        return end;
    return err == LK_OK ? secret_fill(secret, kid, use, key) : err;
}

/* Open a key of a pair that must have come without its private part. */
static enum lk_err
public_open(struct lk_key *key)
{
    enum lk_err err = key->has_private ? LK_ERR_KEY : lk_key_open(key);

    if (err != LK_OK)
        lk_key_wipe(key);
    return err;
}

static enum lk_err
cose_key_read(struct lk_span in, enum lk_alg use, struct lk_key *key)
{
    enum lk_err err;

    if (cose_kty(in) == KTY_OCT)
        return secret_read(in, use, key);
    err = lk_cose_key_parse(in, key);
    return err == LK_OK ? public_open(key) : err;
}

/* The reader of JSON changes its text, so it works on a copy. */
static enum lk_err
jwk_read(struct lk_span text, struct lk_buf room, struct lk_key *key)
{
    struct lk_json r;
    enum lk_err err;

    if (text.len > room.cap)
        return LK_ERR_NO_SPACE;
    memcpy(room.ptr, text.ptr, text.len);
    lk_json_open(&r, room.ptr, text.len);
    err = lk_jwk_read(&r, key);
    lk_wipe(room.ptr, text.len);
    return err;
}

static enum lk_err
given_key(const struct lk_claims *c, enum lk_alg use, struct lk_buf room, struct lk_key *key)
{
    enum lk_err err;

    if (c->format == LK_FORMAT_CWT)
        return cose_key_read(c->cnf_value, use, key);
    err = jwk_read(c->cnf_value, room, key);
    return err == LK_OK ? public_open(key) : err;
}

static const struct lk_issuer *
issuer_find(const struct lk_verifier *verifier, const struct lk_claims *c, uint32_t *index)
{
    for (uint32_t i = 0; i < verifier->issuer_count && c->issuer.len > 0; i++) {
        *index = i;
        if (lk_span_equal(verifier->issuers[i].url, c->issuer))
            return &verifier->issuers[i];
    }
    return NULL;
}

/* Open an Encrypted_COSE_Key with the one key of the issuer that is meant. */
static enum lk_err
envelope_open(const struct lk_keyset *keys, uint32_t issuer, const struct lk_cose_encrypt0 *message,
              struct lk_buf room, struct lk_span *plain)
{
    const struct lk_key *meant = NULL;
    size_t found = 0;

    for (size_t i = 0; i < keys->count; i++) {
        const struct lk_key *key = &keys->keys[i];

        if (key->alg != LK_ALG_AEAD || key->issuer != issuer ||
            (message->kid.ptr != NULL && !lk_span_equal(lk_key_kid(key), message->kid)))
            continue;
        meant = key;
        found++;
    }
    if (found != 1 || (message->kid.ptr != NULL && message->kid.len == 0))
        return LK_ERR_KEY;
    return lk_cose_encrypt0_decrypt(message, meant, LK_SPAN(""), room, plain);
}

/* RFC 8747 section 3.3: COSE_Encrypt0, its tag may be left out. */
static enum lk_err
encrypted_key(const struct lk_verifier *verifier, uint32_t issuer, const struct lk_claims *c,
              enum lk_alg use, struct lk_buf room, struct lk_key *key)
{
    struct lk_cose_encrypt0 message;
    struct lk_span plain = {NULL, 0};
    enum lk_err err = lk_cose_encrypt0_parse(c->cnf_value, true, &message);

    if (err == LK_OK)
        err = envelope_open(verifier->keys, issuer, &message, room, &plain);
    if (err == LK_OK)
        err = cose_key_read(plain, use, key);
    if (plain.len > 0)
        lk_wipe(room.ptr, plain.len);
    return err;
}

static enum lk_err
derived_key(const struct lk_issuer *issuer, const struct lk_claims *c, const struct lk_cnf_use *use,
            struct lk_key *key)
{
    uint8_t secret[LK_CNF_SECRET_LEN];
    enum lk_err err;

    if (use->rs_key.ptr == NULL)
        return LK_ERR_KEY;
    if (issuer->own && !lk_cnf_kid_is_own(c->cnf_value))
        return LK_ERR_FORM;
    err = lk_cnf_derive(use->rs_key, use->token, LK_BUF_OF(secret));
    if (err == LK_OK)
        err = secret_fill(lk_span_of(secret, sizeof(secret)), c->cnf_value, use->symmetric, key);
    lk_wipe(secret, sizeof(secret));
    return err;
}

enum lk_err
lk_cnf_key(const struct lk_verifier *verifier, const struct lk_token *token,
           const struct lk_cnf_use *use, struct lk_buf room, struct lk_key *key)
{
    const struct lk_claims *c = &token->claims;
    const struct lk_issuer *issuer;
    uint32_t index = 0;

    memset(key, 0, sizeof(*key));
    if (c->cnf == LK_CNF_NONE)
        return LK_ERR_CLAIM;
    if (use->symmetric != LK_ALG_NONE && use->symmetric != LK_ALG_HS256 &&
        use->symmetric != LK_ALG_HS256_64)
        return LK_ERR_ALG;
    issuer = issuer_find(verifier, c, &index);
    if (issuer == NULL)
        return LK_ERR_ISSUER;
    if (token->sealed.key == NULL && lk_cnf_is_secret(c))
        return LK_ERR_BOUND;
    if (c->cnf == LK_CNF_KEY)
        return given_key(c, use->symmetric, room, key);
    if (c->cnf == LK_CNF_KID)
        return derived_key(issuer, c, use, key);
    if (c->cnf == LK_CNF_ENCRYPTED)
        return encrypted_key(verifier, index, c, use->symmetric, room, key);
    return LK_ERR_UNSUPPORTED;
}

static enum lk_err
thumbprints_agree(const struct lk_key *bound, const struct lk_key *shown)
{
    uint8_t bound_print[32], shown_print[32];
    enum lk_err err = lk_cose_key_thumbprint(bound, bound_print);

    if (err == LK_OK)
        err = lk_cose_key_thumbprint(shown, shown_print);
    if (err != LK_OK)
        return err;
    return memcmp(bound_print, shown_print, sizeof(bound_print)) == 0 ? LK_OK : LK_ERR_BOUND;
}

/* What a token says of its key, without opening it. */
static enum lk_err
key_is(const struct lk_claims *c, const struct lk_key *shown, struct lk_buf room)
{
    struct lk_key bound;
    enum lk_err err;

    memset(&bound, 0, sizeof(bound));
    if (c->format == LK_FORMAT_CWT)
        err = lk_cose_key_parse(c->cnf_value, &bound);
    else
        err = jwk_read(c->cnf_value, room, &bound);
    if (err == LK_OK && (bound.alg != shown->alg || bound.has_private))
        err = LK_ERR_BOUND;
    if (err == LK_OK)
        err = thumbprints_agree(&bound, shown);
    lk_key_wipe(&bound);
    return err;
}

static enum lk_err
thumbprint_is(const struct lk_claims *c, const struct lk_key *shown)
{
    uint8_t print[32];
    enum lk_err err;

    if (c->format == LK_FORMAT_CWT)
        err = lk_cose_key_thumbprint(shown, print);
    else
        err = lk_jwk_thumbprint(shown, print);
    if (err == LK_OK && !lk_span_equal(c->cnf_value, lk_span_of(print, sizeof(print))))
        err = LK_ERR_BOUND;
    return err;
}

enum lk_err
lk_cnf_match_key(const struct lk_token *token, const struct lk_key *shown, struct lk_buf room)
{
    const struct lk_claims *c = &token->claims;

    if (shown->alg == LK_ALG_NONE || lk_alg_is_symmetric(shown->alg))
        return LK_ERR_BOUND;
    if (c->cnf == LK_CNF_KEY)
        return lk_cnf_is_secret(c) ? LK_ERR_BOUND : key_is(c, shown, room);
    return c->cnf == LK_CNF_THUMBPRINT ? thumbprint_is(c, shown) : LK_ERR_BOUND;
}

/* X.690 section 8.1: is it a SEQUENCE that ends where the bytes end? */
static bool
der_is_whole(struct lk_span der)
{
    size_t octets, len = 0;

    if (der.len < 2 || der.ptr[0] != 0x30)
        return false;
    if (der.ptr[1] < 0x80)
        return der.len - 2 == der.ptr[1];
    octets = der.ptr[1] & 0x7fu;
    if (octets == 0 || octets > 3 || der.len < 2 + octets)
        return false;
    for (size_t i = 0; i < octets; i++)
        len = len << 8 | der.ptr[2 + i];
    return der.len - 2 - octets == len;
}

enum lk_err
lk_certificate_thumbprint(struct lk_span der, uint8_t out[32])
{
    enum lk_err err = der_is_whole(der) ? lk_crypto_sha256(der, out) : LK_ERR_MALFORMED;

    if (err != LK_OK)
        lk_wipe(out, 32);
    return err;
}

enum lk_err
lk_cnf_match_certificate(const struct lk_token *token, struct lk_span der)
{
    uint8_t print[32];
    enum lk_err err;

    if (token->claims.cnf != LK_CNF_X5T)
        return LK_ERR_BOUND;
    err = lk_certificate_thumbprint(der, print);
    if (err == LK_OK && !lk_span_equal(token->claims.cnf_value, lk_span_of(print, sizeof(print))))
        err = LK_ERR_BOUND;
    return err == LK_ERR_MALFORMED ? LK_ERR_BOUND : err;
}
