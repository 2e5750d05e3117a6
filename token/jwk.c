#include <latchkey/jwk.h>

#include "json_find.h"
#include "key_fill.h"

#include <string.h>

#include <latchkey/base64url.h>
#include <latchkey/crypto.h>

#define THUMBPRINT_ROOM 1024 /* bytes: the modulus and exponent of RSA-4096 and their names */

/* The members of a JWK we look at, in the order of `names`. */
enum member {
    JWK_KTY,
    JWK_ALG,
    JWK_USE,
    JWK_KID,
    JWK_CRV,
    JWK_X, /* from here on: base64url */
    JWK_Y,
    JWK_D,
    JWK_K,
    JWK_N,
    JWK_E,
    JWK_COUNT
};

static const char *const names[JWK_COUNT] = {"kty", "alg", "use", "kid", "crv", "x",
                                             "y",   "d",   "k",   "n",   "e"};

struct jwk {
    struct lk_span text[JWK_COUNT];
    bool has_ops, may_verify, may_decrypt;
};

static enum member
member_of(struct lk_span name)
{
    for (unsigned i = 0; i < JWK_COUNT; i++)
        if (lk_span_is(name, names[i]))
            return (enum member)i;
    return JWK_COUNT;
}

static void
ops_read(struct lk_json *r, struct jwk *jwk)
{
    jwk->has_ops = true;
    lk_json_enter_array(r);
    while (lk_json_next_item(r)) {
        struct lk_span op = lk_json_string(r);

        jwk->may_verify = jwk->may_verify || lk_span_is(op, "verify");
        jwk->may_decrypt = jwk->may_decrypt || lk_span_is(op, "decrypt");
    }
    lk_json_leave_array(r);
}

static void
members_read(struct lk_json *r, struct jwk *jwk)
{
    struct lk_span name;

    memset(jwk, 0, sizeof(*jwk));
    lk_json_enter_object(r);
    while (lk_json_next_member(r, &name)) {
        enum member member = member_of(name);

        if (lk_span_is(name, "key_ops")) {
            ops_read(r, jwk);
        } else if (member == JWK_COUNT) {
            lk_json_skip(r);
        } else {
            jwk->text[member] = lk_json_string(r);
        }
    }
    lk_json_leave_object(r);
}

static void
alg_read(const struct jwk *jwk, struct lk_key_members *m)
{
    m->has_alg = jwk->text[JWK_ALG].ptr != NULL;
    m->alg = lk_alg_from_jose(jwk->text[JWK_ALG]);
    m->cipher = lk_aead_from_jose(jwk->text[JWK_ALG]);
    if (m->cipher != LK_AEAD_NONE)
        m->alg = LK_ALG_AEAD;
}

/* Is it for what we would do with it? */
static bool
use_fits(const struct jwk *jwk, bool decrypts)
{
    struct lk_span use = jwk->text[JWK_USE];

    if (use.ptr != NULL && !lk_span_is(use, decrypts ? "enc" : "sig"))
        return false;
    return !jwk->has_ops || (decrypts ? jwk->may_decrypt : jwk->may_verify);
}

/* What kind of key it is; LK_ERR_UNSUPPORTED for kinds, curves and uses we do not take. */
static enum lk_err
kind_read(const struct jwk *jwk, struct lk_key_members *m)
{
    static const struct {
        const char *kty, *crv;
        enum lk_kty is;
    } kinds[] = {
        {"EC", "P-256", LK_KTY_EC},
        {"OKP", "Ed25519", LK_KTY_OKP},
        {"oct", NULL, LK_KTY_OCT},
        {"RSA", NULL, LK_KTY_RSA},
    };

    if (jwk->text[JWK_KTY].ptr == NULL)
        return LK_ERR_MISSING;
    if (!use_fits(jwk, m->alg == LK_ALG_AEAD))
        return LK_ERR_UNSUPPORTED;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!lk_span_is(jwk->text[JWK_KTY], kinds[i].kty))
            continue;
        m->kty = kinds[i].is;
        if (kinds[i].crv == NULL || lk_span_is(jwk->text[JWK_CRV], kinds[i].crv))
            return LK_OK;
        return jwk->text[JWK_CRV].ptr == NULL ? LK_ERR_MISSING : LK_ERR_UNSUPPORTED;
    }
    return LK_ERR_UNSUPPORTED;
}

/* Decode a member in place. The text is the caller's, lent to us through the reader. */
static enum lk_err
number_decode(const struct lk_json *r, struct lk_span text, struct lk_span *out)
{
    struct lk_buf room;

    *out = text;
    if (text.ptr == NULL)
        return LK_OK;
    room = (struct lk_buf){r->pos - (r->pos - text.ptr), text.len};
    return lk_base64url_decode(text, room, out);
}

static enum lk_err
numbers_decode(const struct lk_json *r, const struct jwk *jwk, struct lk_key_members *m)
{
    const struct {
        enum member member;
        struct lk_span *out;
    } numbers[] = {{JWK_X, &m->x}, {JWK_Y, &m->y}, {JWK_D, &m->d},
                   {JWK_K, &m->k}, {JWK_N, &m->n}, {JWK_E, &m->e}};

    /* The d of an RSA key is decoded as well, only to be checked. */
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        enum lk_err err = number_decode(r, jwk->text[numbers[i].member], numbers[i].out);

        if (err != LK_OK)
            return err;
    }
    return LK_OK;
}

enum lk_err
lk_jwk_read(struct lk_json *r, struct lk_key *key)
{
    struct lk_key_members m = {.kid = {NULL, 0}};
    struct jwk jwk;
    enum lk_err err;

    memset(key, 0, sizeof(*key));
    members_read(r, &jwk);
    if (r->err != LK_OK)
        return r->err;
    alg_read(&jwk, &m);
    err = kind_read(&jwk, &m);
    if (err == LK_OK)
        err = numbers_decode(r, &jwk, &m);
    if (err != LK_OK)
        return err;
    m.kid = jwk.text[JWK_KID];
    return lk_key_fill(key, &m);
}

/* Read and open one key behind the ones there are. */
static enum lk_err
key_append(struct lk_json *r, struct lk_key *keys, size_t max, size_t *count)
{
    struct lk_key key;
    enum lk_err err = lk_jwk_read(r, &key);

    if (err == LK_ERR_UNSUPPORTED)
        return LK_OK; /* RFC 7517 section 5 */
    return err == LK_OK ? lk_keys_append(keys, max, count, &key) : err;
}

static enum lk_err
set_read(struct lk_json *r, struct lk_key *keys, size_t max, size_t *count)
{
    enum lk_err err = LK_OK;
    struct lk_span name;

    lk_json_enter_object(r);
    while (err == LK_OK && lk_json_next_member(r, &name)) {
        if (!lk_span_is(name, "keys")) {
            lk_json_skip(r);
            continue;
        }
        lk_json_enter_array(r);
        while (err == LK_OK && lk_json_next_item(r))
            err = key_append(r, keys, max, count);
        if (err == LK_OK)
            lk_json_leave_array(r);
    }
    if (err == LK_OK)
        lk_json_leave_object(r);
    return err;
}

enum lk_err
lk_jwks_read(uint8_t *text, size_t len, struct lk_key *keys, size_t max, size_t *count)
{
    bool is_set = lk_json_has_member(lk_span_of(text, len), LK_SPAN("keys"));
    struct lk_json r;
    enum lk_err err;

    *count = 0;
    lk_json_open(&r, text, len);
    err = is_set ? set_read(&r, keys, max, count) : key_append(&r, keys, max, count);
    if (err == LK_OK)
        err = lk_json_close(&r);
    if (err == LK_OK)
        return LK_OK;
    while (*count > 0)
        lk_key_wipe(&keys[--*count]);
    return err;
}

static void
write_member(struct lk_json_out *w, const char *name, const uint8_t *bytes, size_t len)
{
    lk_json_write_name(w, name);
    lk_json_write_base64url(w, lk_span_of(bytes, len));
}

static void
write_text(struct lk_json_out *w, const char *name, const char *text)
{
    lk_json_write_name(w, name);
    lk_json_write_string(w, lk_span_text(text));
}

/* The members RFC 7638 section 3.2 asks for, in its order. */
static void
write_required(struct lk_json_out *w, const struct lk_key *key)
{
    switch (key->alg) {
    case LK_ALG_ES256:
        write_text(w, "crv", "P-256");
        write_text(w, "kty", "EC");
        write_member(w, "x", key->u.ec.x, sizeof(key->u.ec.x));
        write_member(w, "y", key->u.ec.y, sizeof(key->u.ec.y));
        break;
    case LK_ALG_EDDSA:
        write_text(w, "crv", "Ed25519");
        write_text(w, "kty", "OKP");
        write_member(w, "x", key->u.okp.x, sizeof(key->u.okp.x));
        break;
    case LK_ALG_RS256:
        write_member(w, "e", key->u.rsa.e, key->u.rsa.e_len);
        write_text(w, "kty", "RSA");
        write_member(w, "n", key->u.rsa.n, key->u.rsa.n_len);
        break;
    case LK_ALG_HS256:
    case LK_ALG_HS256_64:
    case LK_ALG_AEAD:
        write_member(w, "k", key->u.oct.k, key->u.oct.len);
        write_text(w, "kty", "oct");
        break;
    case LK_ALG_NONE:
        if (w->err == LK_OK)
            w->err = LK_ERR_UNSUPPORTED;
        break;
    }
}

void
lk_jwk_write_public(struct lk_json_out *w, const struct lk_key *key)
{
    if (lk_alg_is_symmetric(key->alg) && w->err == LK_OK)
        w->err = LK_ERR_UNSUPPORTED;
    if (w->err != LK_OK)
        return;
    lk_json_write_object(w);
    write_required(w, key);
    if (key->kid_len > 0) {
        lk_json_write_name(w, "kid");
        lk_json_write_string(w, lk_key_kid(key));
    }
    write_text(w, "alg", lk_alg_name(key->alg));
    write_text(w, "use", "sig");
    lk_json_write_object_end(w);
}

enum lk_err
lk_jwk_thumbprint(const struct lk_key *key, uint8_t out[32])
{
    uint8_t room[THUMBPRINT_ROOM];
    struct lk_json_out w;
    struct lk_span text;
    enum lk_err err;

    lk_json_write_open(&w, LK_BUF_OF(room));
    lk_json_write_object(&w);
    write_required(&w, key);
    lk_json_write_object_end(&w);
    err = lk_json_write_close(&w, &text);
    if (err == LK_OK)
        err = lk_crypto_sha256(text, out);
    if (err != LK_OK)
        lk_wipe(out, 32);
    lk_wipe(room, sizeof(room));
    return err;
}
