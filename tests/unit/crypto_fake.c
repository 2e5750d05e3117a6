#include "crypto_fake.h"

#include <string.h>

#include <latchkey/crypto.h>

static unsigned calls, fail_at;
static int open_keys;
static uint8_t random_state;

void
crypto_fake_fail_at(unsigned n)
{
    calls = 0;
    fail_at = n;
    random_state = 0;
}

unsigned
crypto_fake_calls(void)
{
    return calls;
}

int
crypto_fake_open_keys(void)
{
    return open_keys;
}

static bool
fails(void)
{
    return ++calls == fail_at;
}

/* FNV-1a, which is good enough to tell inputs apart. */
static uint64_t
mix(uint64_t hash, struct lk_span bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.ptr[i]) * 0x100000001b3u;
    return hash;
}

static void
spread(uint64_t hash, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ i) * 0x100000001b3u;
        out[i] = (uint8_t)(hash >> 32);
    }
}

static uint64_t
mix_parts(uint64_t hash, const struct lk_span *parts, size_t part_count)
{
    for (size_t i = 0; i < part_count; i++)
        hash = mix(hash, parts[i]);
    return hash;
}

/* What the public half is known by. */
static uint64_t
mix_key(const struct lk_key *key)
{
    uint64_t hash = 0xcbf29ce484222325u + (uint64_t)key->alg;

    if (key->alg == LK_ALG_ES256)
        return mix(hash, lk_span_of(key->u.ec.x, sizeof(key->u.ec.x)));
    if (key->alg == LK_ALG_EDDSA)
        return mix(hash, lk_span_of(key->u.okp.x, sizeof(key->u.okp.x)));
    if (key->alg == LK_ALG_RS256)
        return mix(hash, lk_span_of(key->u.rsa.n, key->u.rsa.n_len));
    return mix(hash, lk_span_of(key->u.oct.k, key->u.oct.len));
}

static size_t
signature_make(const struct lk_key *key, const struct lk_span *parts, size_t part_count,
               uint8_t out[64])
{
    size_t len = lk_alg_signature_len(key->alg);

    spread(mix_parts(mix_key(key), parts, part_count), out, len);
    if (key->alg == LK_ALG_ES256)
        out[32] &= 0x7f; /* "low s" */
    return len;
}

enum lk_err
lk_key_open(struct lk_key *key)
{
    static uint8_t mark;

    if (fails())
        return LK_ERR_CRYPTO;
    if (key->alg == LK_ALG_NONE)
        return LK_ERR_UNSUPPORTED;
    if (key->prepared == NULL)
        open_keys++;
    key->prepared = &mark;
    return LK_OK;
}

enum lk_err
lk_key_accelerate(struct lk_key *key)
{
    return key->prepared == NULL ? LK_ERR_STATE : LK_ERR_UNSUPPORTED;
}

void
lk_key_wipe(struct lk_key *key)
{
    if (key->prepared != NULL)
        open_keys--;
    lk_wipe(key, sizeof(*key));
}

enum lk_err
lk_crypto_verify(const struct lk_key *key, const struct lk_span *parts, size_t part_count,
                 struct lk_span signature)
{
    uint8_t room[64];
    size_t len;

    if (key->prepared == NULL)
        return LK_ERR_STATE;
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    if (fails())
        return LK_ERR_CRYPTO;
    len = signature_make(key, parts, part_count, room);
    return lk_equal_ct(lk_span_of(room, len), signature) ? LK_OK : LK_ERR_SIGNATURE;
}

enum lk_err
lk_crypto_sign(const struct lk_key *key, const struct lk_span *parts, size_t part_count,
               struct lk_buf room, struct lk_span *out)
{
    uint8_t signature[64];
    size_t len;

    *out = (struct lk_span){NULL, 0};
    if (lk_alg_signature_len(key->alg) == 0)
        return LK_ERR_UNSUPPORTED;
    if (key->prepared == NULL)
        return LK_ERR_STATE;
    if (!key->has_private)
        return LK_ERR_KEY;
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    len = signature_make(key, parts, part_count, signature);
    if (room.cap < len)
        return LK_ERR_NO_SPACE;
    if (fails())
        return LK_ERR_CRYPTO;
    memcpy(room.ptr, signature, len);
    *out = lk_span_of(room.ptr, len);
    return LK_OK;
}

bool
lk_crypto_is_low_s(struct lk_span signature)
{
    return signature.len == 64 && signature.ptr[32] < 0x80;
}

enum lk_err
lk_crypto_sha256(struct lk_span in, uint8_t out[LK_SHA256_LEN])
{
    return lk_crypto_hmac_sha256(LK_SPAN("sha256"), &in, 1, out);
}

enum lk_err
lk_crypto_hmac_sha256(struct lk_span key, const struct lk_span *parts, size_t part_count,
                      uint8_t out[LK_SHA256_LEN])
{
    if (part_count > LK_PARTS_MAX)
        return LK_ERR_ARG;
    lk_wipe(out, LK_SHA256_LEN);
    if (fails())
        return LK_ERR_CRYPTO;
    spread(mix_parts(mix(0xcbf29ce484222325u, key), parts, part_count), out, LK_SHA256_LEN);
    return LK_OK;
}

enum lk_err
lk_crypto_hkdf_sha256(struct lk_span key, struct lk_span salt, struct lk_span info,
                      struct lk_buf out)
{
    struct lk_span parts[] = {salt, info};

    if (out.cap > (size_t)255 * LK_SHA256_LEN)
        return LK_ERR_LIMIT;
    if (fails())
        return LK_ERR_CRYPTO;
    spread(mix_parts(mix(0xcbf29ce484222325u, key), parts, 2), out.ptr, out.cap);
    return LK_OK;
}

enum lk_err
lk_crypto_random(struct lk_buf out)
{
    if (fails())
        return LK_ERR_CRYPTO;
    for (size_t i = 0; i < out.cap; i++)
        out.ptr[i] = ++random_state;
    return LK_OK;
}

enum lk_err
lk_crypto_generate(enum lk_alg alg, struct lk_key *key)
{
    enum lk_err err;

    memset(key, 0, sizeof(*key));
    if (alg == LK_ALG_RS256 || alg == LK_ALG_AEAD || alg == LK_ALG_NONE)
        return LK_ERR_UNSUPPORTED;
    key->alg = alg;
    key->has_private = true;
    if (alg == LK_ALG_ES256) {
        err = lk_crypto_random((struct lk_buf){key->u.ec.x, sizeof(key->u.ec)});
    } else if (alg == LK_ALG_EDDSA) {
        err = lk_crypto_random((struct lk_buf){key->u.okp.x, sizeof(key->u.okp)});
    } else {
        key->u.oct.len = 32;
        err = lk_crypto_random((struct lk_buf){key->u.oct.k, 32});
    }
    if (err == LK_OK)
        err = lk_key_open(key);
    if (err != LK_OK)
        lk_key_wipe(key);
    return err;
}

enum lk_err
lk_crypto_seal(const uint8_t key[32], struct lk_span bound, struct lk_span plain,
               struct lk_buf room, struct lk_span *out)
{
    struct lk_span parts[] = {bound, plain};
    uint64_t tag = mix_parts(mix(0xcbf29ce484222325u, lk_span_of(key, 32)), parts, 2);

    *out = (struct lk_span){NULL, 0};
    if (room.cap < LK_SEAL_OVERHEAD || plain.len > room.cap - LK_SEAL_OVERHEAD)
        return LK_ERR_NO_SPACE;
    if (fails())
        return LK_ERR_CRYPTO;
    memset(room.ptr, 0, 12);
    for (size_t i = 0; i < plain.len; i++)
        room.ptr[12 + i] = (uint8_t)(plain.ptr[i] ^ key[i % 32]);
    spread(tag, room.ptr + 12 + plain.len, 16);
    *out = lk_span_of(room.ptr, plain.len + LK_SEAL_OVERHEAD);
    return LK_OK;
}

enum lk_err
lk_crypto_unseal(const uint8_t key[32], struct lk_span bound, struct lk_span sealed,
                 struct lk_buf room, struct lk_span *out)
{
    uint8_t tag[16];
    struct lk_span parts[2] = {bound, {room.ptr, 0}};

    *out = (struct lk_span){NULL, 0};
    if (sealed.len < LK_SEAL_OVERHEAD)
        return LK_ERR_SIGNATURE;
    parts[1].len = sealed.len - LK_SEAL_OVERHEAD;
    if (parts[1].len > room.cap)
        return LK_ERR_NO_SPACE;
    if (fails())
        return LK_ERR_CRYPTO;
    for (size_t i = 0; i < parts[1].len; i++)
        room.ptr[i] = (uint8_t)(sealed.ptr[12 + i] ^ key[i % 32]);
    spread(mix_parts(mix(0xcbf29ce484222325u, lk_span_of(key, 32)), parts, 2), tag, sizeof(tag));
    if (!lk_equal_ct(lk_span_of(tag, sizeof(tag)),
                     lk_span_of(sealed.ptr + 12 + parts[1].len, sizeof(tag)))) {
        lk_wipe(room.ptr, parts[1].len);
        return LK_ERR_SIGNATURE;
    }
    *out = parts[1];
    return LK_OK;
}

/* Opens what lk_crypto_seal above made; the nonce is what that writes, zeros. */
enum lk_err
lk_crypto_decrypt(const struct lk_key *key, struct lk_span nonce, const struct lk_span *aad,
                  size_t aad_count, struct lk_span sealed, struct lk_buf room,
                  struct lk_span *plain)
{
    struct lk_span text;
    uint8_t tag[16];
    uint64_t hash;

    *plain = (struct lk_span){NULL, 0};
    if (key->alg != LK_ALG_AEAD || key->u.oct.len != 32)
        return LK_ERR_KEY;
    if (key->prepared == NULL)
        return LK_ERR_STATE;
    if (nonce.len != 12 || sealed.len < sizeof(tag))
        return LK_ERR_SIGNATURE;
    text = lk_span_of(room.ptr, sealed.len - sizeof(tag));
    if (text.len > room.cap)
        return LK_ERR_NO_SPACE;
    if (fails())
        return LK_ERR_CRYPTO;
    for (size_t i = 0; i < text.len; i++)
        room.ptr[i] = (uint8_t)(sealed.ptr[i] ^ key->u.oct.k[i % 32]);
    hash = mix_parts(mix(0xcbf29ce484222325u, lk_span_of(key->u.oct.k, 32)), aad, aad_count);
    spread(mix(hash, text), tag, sizeof(tag));
    if (!lk_equal_ct(lk_span_of(tag, sizeof(tag)),
                     lk_span_of(sealed.ptr + text.len, sizeof(tag)))) {
        lk_wipe(room.ptr, text.len);
        return LK_ERR_SIGNATURE;
    }
    *plain = text;
    return LK_OK;
}
