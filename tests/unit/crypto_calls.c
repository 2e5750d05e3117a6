#define OPENSSL_SUPPRESS_DEPRECATED

#include "crypto_calls.h"

#include <stdarg.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

bool (*crypto_call_fails)(void);
bool crypto_verify_breaks;
void (*crypto_fetch_meanwhile)(void);

static bool
fails(void)
{
    return crypto_call_fails != NULL && crypto_call_fails();
}

static void
meanwhile(void)
{
    void (*run)(void) = crypto_fetch_meanwhile;

    crypto_fetch_meanwhile = NULL;
    if (run != NULL)
        run();
}

/* token_crypto.cmake reads the names off the front of these lines.
 * The type is OpenSSL's own, so a signature that is written wrong here does not compile. */
#define CALL(name, type, failure, parameters, arguments)                                           \
    __typeof__(name) __real_##name, __wrap_##name;                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fails() ? (failure) : __real_##name arguments;                                      \
    }
#define FETCH(name, type)                                                                          \
    __typeof__(name) __real_##name, __wrap_##name;                                                 \
    type *__wrap_##name(OSSL_LIB_CTX *lib, const char *algorithm, const char *properties)          \
    {                                                                                              \
        meanwhile();                                                                               \
        return fails() ? NULL : __real_##name(lib, algorithm, properties);                         \
    }
#define NUMBER(name, parameters, arguments)        CALL(name, int, 0, parameters, arguments)
#define POINTER(name, type, parameters, arguments) CALL(name, type *, NULL, parameters, arguments)

FETCH(EVP_MD_fetch, EVP_MD)
FETCH(EVP_CIPHER_fetch, EVP_CIPHER)
FETCH(EVP_MAC_fetch, EVP_MAC)

POINTER(CRYPTO_malloc, void, (size_t len, const char *file, int line), (len, file, line))
POINTER(CRYPTO_zalloc, void, (size_t len, const char *file, int line), (len, file, line))

POINTER(EVP_MD_CTX_new, EVP_MD_CTX, (void), ())
NUMBER(EVP_Digest,
       (const void *in, size_t len, unsigned char *out, unsigned *out_len, const EVP_MD *md,
        ENGINE *engine),
       (in, len, out, out_len, md, engine))
NUMBER(EVP_DigestInit_ex2, (EVP_MD_CTX * ctx, const EVP_MD *md, const OSSL_PARAM *params),
       (ctx, md, params))
NUMBER(EVP_DigestUpdate, (EVP_MD_CTX * ctx, const void *in, size_t len), (ctx, in, len))
NUMBER(EVP_DigestFinal_ex, (EVP_MD_CTX * ctx, unsigned char *out, unsigned *len), (ctx, out, len))

POINTER(EVP_MAC_CTX_new, EVP_MAC_CTX, (EVP_MAC * mac), (mac))
POINTER(EVP_MAC_CTX_dup, EVP_MAC_CTX, (const EVP_MAC_CTX *ctx), (ctx))
NUMBER(EVP_MAC_init,
       (EVP_MAC_CTX * ctx, const unsigned char *key, size_t len, const OSSL_PARAM *params),
       (ctx, key, len, params))
NUMBER(EVP_MAC_update, (EVP_MAC_CTX * ctx, const unsigned char *in, size_t len), (ctx, in, len))
NUMBER(EVP_MAC_final, (EVP_MAC_CTX * ctx, unsigned char *out, size_t *len, size_t cap),
       (ctx, out, len, cap))

POINTER(EVP_CIPHER_CTX_new, EVP_CIPHER_CTX, (void), ())
NUMBER(EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX * ctx, int type, int number, void *at),
       (ctx, type, number, at))
NUMBER(EVP_EncryptInit_ex2,
       (EVP_CIPHER_CTX * ctx, const EVP_CIPHER *cipher, const unsigned char *key,
        const unsigned char *iv, const OSSL_PARAM *params),
       (ctx, cipher, key, iv, params))
NUMBER(EVP_EncryptUpdate,
       (EVP_CIPHER_CTX * ctx, unsigned char *out, int *out_len, const unsigned char *in, int len),
       (ctx, out, out_len, in, len))
NUMBER(EVP_EncryptFinal_ex, (EVP_CIPHER_CTX * ctx, unsigned char *out, int *len), (ctx, out, len))
NUMBER(EVP_DecryptInit_ex2,
       (EVP_CIPHER_CTX * ctx, const EVP_CIPHER *cipher, const unsigned char *key,
        const unsigned char *iv, const OSSL_PARAM *params),
       (ctx, cipher, key, iv, params))
NUMBER(EVP_DecryptUpdate,
       (EVP_CIPHER_CTX * ctx, unsigned char *out, int *out_len, const unsigned char *in, int len),
       (ctx, out, out_len, in, len))
NUMBER(EVP_DecryptFinal_ex, (EVP_CIPHER_CTX * ctx, unsigned char *out, int *len), (ctx, out, len))
NUMBER(RAND_bytes_ex, (OSSL_LIB_CTX * lib, unsigned char *out, size_t len, unsigned strength),
       (lib, out, len, strength))
NUMBER(RAND_priv_bytes_ex, (OSSL_LIB_CTX * lib, unsigned char *out, size_t len, unsigned strength),
       (lib, out, len, strength))

POINTER(OSSL_PARAM_BLD_new, OSSL_PARAM_BLD, (void), ())
POINTER(OSSL_PARAM_BLD_to_param, OSSL_PARAM, (OSSL_PARAM_BLD * build), (build))
NUMBER(OSSL_PARAM_BLD_push_BN, (OSSL_PARAM_BLD * build, const char *name, const BIGNUM *number),
       (build, name, number))
NUMBER(OSSL_PARAM_BLD_push_BN_pad,
       (OSSL_PARAM_BLD * build, const char *name, const BIGNUM *number, size_t len),
       (build, name, number, len))
NUMBER(OSSL_PARAM_BLD_push_utf8_string,
       (OSSL_PARAM_BLD * build, const char *name, const char *text, size_t len),
       (build, name, text, len))
NUMBER(OSSL_PARAM_BLD_push_octet_string,
       (OSSL_PARAM_BLD * build, const char *name, const void *bytes, size_t len),
       (build, name, bytes, len))

POINTER(EVP_PKEY_CTX_new_from_name, EVP_PKEY_CTX,
        (OSSL_LIB_CTX * lib, const char *name, const char *properties), (lib, name, properties))
POINTER(EVP_PKEY_CTX_new_from_pkey, EVP_PKEY_CTX,
        (OSSL_LIB_CTX * lib, EVP_PKEY *pkey, const char *properties), (lib, pkey, properties))
NUMBER(EVP_PKEY_fromdata_init, (EVP_PKEY_CTX * ctx), (ctx))
NUMBER(EVP_PKEY_fromdata, (EVP_PKEY_CTX * ctx, EVP_PKEY **pkey, int selection, OSSL_PARAM *params),
       (ctx, pkey, selection, params))
NUMBER(EVP_PKEY_public_check, (EVP_PKEY_CTX * ctx), (ctx))
NUMBER(EVP_PKEY_pairwise_check, (EVP_PKEY_CTX * ctx), (ctx))
POINTER(EVP_PKEY_new_raw_public_key_ex, EVP_PKEY,
        (OSSL_LIB_CTX * lib, const char *type, const char *properties, const unsigned char *key,
         size_t len),
        (lib, type, properties, key, len))
POINTER(EVP_PKEY_new_raw_private_key_ex, EVP_PKEY,
        (OSSL_LIB_CTX * lib, const char *type, const char *properties, const unsigned char *key,
         size_t len),
        (lib, type, properties, key, len))
NUMBER(EVP_PKEY_get_raw_public_key, (const EVP_PKEY *pkey, unsigned char *out, size_t *len),
       (pkey, out, len))
NUMBER(EVP_PKEY_get_raw_private_key, (const EVP_PKEY *pkey, unsigned char *out, size_t *len),
       (pkey, out, len))
NUMBER(EVP_PKEY_get_bn_param, (const EVP_PKEY *pkey, const char *name, BIGNUM **number),
       (pkey, name, number))

NUMBER(EVP_PKEY_sign_init, (EVP_PKEY_CTX * ctx), (ctx))
NUMBER(EVP_PKEY_verify_init, (EVP_PKEY_CTX * ctx), (ctx))
NUMBER(EVP_PKEY_CTX_set_signature_md, (EVP_PKEY_CTX * ctx, const EVP_MD *md), (ctx, md))
NUMBER(EVP_PKEY_CTX_set_rsa_padding, (EVP_PKEY_CTX * ctx, int padding), (ctx, padding))
NUMBER(EVP_PKEY_sign,
       (EVP_PKEY_CTX * ctx, unsigned char *out, size_t *out_len, const unsigned char *in,
        size_t len),
       (ctx, out, out_len, in, len))
NUMBER(EVP_DigestSignInit_ex,
       (EVP_MD_CTX * ctx, EVP_PKEY_CTX **pctx, const char *md, OSSL_LIB_CTX *lib,
        const char *properties, EVP_PKEY *pkey, const OSSL_PARAM *params),
       (ctx, pctx, md, lib, properties, pkey, params))
NUMBER(EVP_DigestSign,
       (EVP_MD_CTX * ctx, unsigned char *out, size_t *out_len, const unsigned char *in, size_t len),
       (ctx, out, out_len, in, len))
NUMBER(EVP_DigestVerifyInit_ex,
       (EVP_MD_CTX * ctx, EVP_PKEY_CTX **pctx, const char *md, OSSL_LIB_CTX *lib,
        const char *properties, EVP_PKEY *pkey, const OSSL_PARAM *params),
       (ctx, pctx, md, lib, properties, pkey, params))
NUMBER(EVP_DigestVerify,
       (EVP_MD_CTX * ctx, const unsigned char *signature, size_t signature_len,
        const unsigned char *in, size_t len),
       (ctx, signature, signature_len, in, len))

POINTER(BN_secure_new, BIGNUM, (void), ())
POINTER(BN_bin2bn, BIGNUM, (const unsigned char *in, int len, BIGNUM *out), (in, len, out))
NUMBER(BN_hex2bn, (BIGNUM * *out, const char *text), (out, text))
CALL(BN_bn2binpad, int, -1, (const BIGNUM *number, unsigned char *out, int len), (number, out, len))
POINTER(BN_copy, BIGNUM, (BIGNUM * to, const BIGNUM *from), (to, from))
NUMBER(BN_set_word, (BIGNUM * number, BN_ULONG word), (number, word))
NUMBER(BN_add_word, (BIGNUM * number, BN_ULONG word), (number, word))
NUMBER(BN_sub_word, (BIGNUM * number, BN_ULONG word), (number, word))
NUMBER(BN_add, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b), (r, a, b))
NUMBER(BN_sub, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b), (r, a, b))
NUMBER(BN_nnmod, (BIGNUM * r, const BIGNUM *a, const BIGNUM *m, BN_CTX *ctx), (r, a, m, ctx))
NUMBER(BN_mod_add, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx),
       (r, a, b, m, ctx))
NUMBER(BN_mod_sub, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx),
       (r, a, b, m, ctx))
NUMBER(BN_mod_mul, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx),
       (r, a, b, m, ctx))
NUMBER(BN_mod_sqr, (BIGNUM * r, const BIGNUM *a, const BIGNUM *m, BN_CTX *ctx), (r, a, m, ctx))
POINTER(BN_mod_inverse, BIGNUM, (BIGNUM * r, const BIGNUM *a, const BIGNUM *m, BN_CTX *ctx),
        (r, a, m, ctx))
POINTER(BN_CTX_new, BN_CTX, (void), ())

POINTER(EC_GROUP_new_by_curve_name, EC_GROUP, (int name), (name))
NUMBER(EC_GROUP_set_generator,
       (EC_GROUP * group, const EC_POINT *point, const BIGNUM *n, const BIGNUM *cofactor),
       (group, point, n, cofactor))
NUMBER(EC_GROUP_precompute_mult, (EC_GROUP * group, BN_CTX *ctx), (group, ctx))
NUMBER(EC_GROUP_have_precompute_mult, (const EC_GROUP *group), (group))
POINTER(EC_POINT_new, EC_POINT, (const EC_GROUP *group), (group))
NUMBER(EC_POINT_copy, (EC_POINT * to, const EC_POINT *from), (to, from))
NUMBER(EC_POINT_invert, (const EC_GROUP *group, EC_POINT *a, BN_CTX *ctx), (group, a, ctx))
NUMBER(EC_POINT_add,
       (const EC_GROUP *group, EC_POINT *r, const EC_POINT *a, const EC_POINT *b, BN_CTX *ctx),
       (group, r, a, b, ctx))
NUMBER(EC_POINT_mul,
       (const EC_GROUP *group, EC_POINT *r, const BIGNUM *n, const EC_POINT *q, const BIGNUM *m,
        BN_CTX *ctx),
       (group, r, n, q, m, ctx))
CALL(EC_POINT_cmp, int, -1,
     (const EC_GROUP *group, const EC_POINT *a, const EC_POINT *b, BN_CTX *ctx), (group, a, b, ctx))
NUMBER(EC_POINT_set_affine_coordinates,
       (const EC_GROUP *group, EC_POINT *p, const BIGNUM *x, const BIGNUM *y, BN_CTX *ctx),
       (group, p, x, y, ctx))
NUMBER(EC_POINT_get_affine_coordinates,
       (const EC_GROUP *group, const EC_POINT *p, BIGNUM *x, BIGNUM *y, BN_CTX *ctx),
       (group, p, x, y, ctx))
NUMBER(EC_POINT_set_compressed_coordinates,
       (const EC_GROUP *group, EC_POINT *p, const BIGNUM *x, int y_bit, BN_CTX *ctx),
       (group, p, x, y_bit, ctx))
NUMBER(EC_POINT_get_Jprojective_coordinates_GFp,
       (const EC_GROUP *group, const EC_POINT *p, BIGNUM *x, BIGNUM *y, BIGNUM *z, BN_CTX *ctx),
       (group, p, x, y, z, ctx))

/* After one that failed BN_CTX_get fails until the end: so the port looks at the last one only. */
__typeof__(BN_CTX_get) __real_BN_CTX_get, __wrap_BN_CTX_get;
__typeof__(BN_CTX_end) __real_BN_CTX_end, __wrap_BN_CTX_end;

static bool numbers_are_out;

BIGNUM *
__wrap_BN_CTX_get(BN_CTX *ctx)
{
    numbers_are_out = numbers_are_out || fails();
    return numbers_are_out ? NULL : __real_BN_CTX_get(ctx);
}

void
__wrap_BN_CTX_end(BN_CTX *ctx)
{
    numbers_are_out = false;
    __real_BN_CTX_end(ctx);
}

__typeof__(EVP_PKEY_verify) __real_EVP_PKEY_verify, __wrap_EVP_PKEY_verify;

int
__wrap_EVP_PKEY_verify(EVP_PKEY_CTX *ctx, const unsigned char *signature, size_t signature_len,
                       const unsigned char *in, size_t len)
{
    if (crypto_verify_breaks || fails())
        return -1;
    return __real_EVP_PKEY_verify(ctx, signature, signature_len, in, len);
}

/* What stands behind the type depends on it. */
__typeof__(EVP_PKEY_Q_keygen) __real_EVP_PKEY_Q_keygen, __wrap_EVP_PKEY_Q_keygen;

EVP_PKEY *
__wrap_EVP_PKEY_Q_keygen(OSSL_LIB_CTX *lib, const char *properties, const char *type, ...)
{
    const char *curve = NULL;
    size_t bits = 0;
    va_list rest;

    va_start(rest, type);
    if (strcmp(type, "EC") == 0)
        curve = va_arg(rest, const char *);
    else if (strcmp(type, "RSA") == 0)
        bits = va_arg(rest, size_t);
    va_end(rest);
    if (fails())
        return NULL;
    return bits > 0 ? __real_EVP_PKEY_Q_keygen(lib, properties, type, bits)
                    : __real_EVP_PKEY_Q_keygen(lib, properties, type, curve);
}
