/*
 * The two forms of an ES256 signature.
 */
#include "prepared.h"

#include <string.h>

/* Order of P-256 and half of it (SEC 2 section 2.4.2), big-endian. */
static const uint8_t p256_n[LK_ES256_HALF] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
static const uint8_t p256_half_n[LK_ES256_HALF] = {
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};

static bool
is_zero(const uint8_t *value, size_t len)
{
    uint8_t any = 0;

    for (size_t i = 0; i < len; i++)
        any |= value[i];
    return any == 0;
}

bool
lk_es256_scalar_is_valid(const uint8_t scalar[LK_ES256_HALF])
{
    return !is_zero(scalar, LK_ES256_HALF) && memcmp(scalar, p256_n, LK_ES256_HALF) < 0;
}

bool
lk_crypto_is_low_s(struct lk_span signature)
{
    return signature.len == LK_ES256_LEN &&
           memcmp(signature.ptr + LK_ES256_HALF, p256_half_n, LK_ES256_HALF) <= 0;
}

void
lk_es256_negate_s(uint8_t s[LK_ES256_HALF])
{
    unsigned borrow = 0;

    for (size_t i = LK_ES256_HALF; i-- > 0;) {
        unsigned difference = 0x100u + p256_n[i] - s[i] - borrow;

        s[i] = (uint8_t)difference;
        borrow = difference < 0x100;
    }
}

/* Append a DER INTEGER: no leading zeros but the one that keeps it positive (X.690 8.3). */
static size_t
der_put_integer(uint8_t *out, const uint8_t value[LK_ES256_HALF])
{
    size_t skip = 0, pad, len;

    while (skip < LK_ES256_HALF - 1 && value[skip] == 0)
        skip++;
    pad = value[skip] >> 7;
    len = LK_ES256_HALF - skip;
    out[0] = 0x02;
    out[1] = (uint8_t)(pad + len);
    out[2] = 0;
    memcpy(out + 2 + pad, value + skip, len);
    return 2 + pad + len;
}

size_t
lk_es256_to_der(const uint8_t raw[LK_ES256_LEN], uint8_t der[LK_ES256_DER])
{
    size_t len = 2;

    len += der_put_integer(der + len, raw);
    len += der_put_integer(der + len, raw + LK_ES256_HALF);
    der[0] = 0x30;
    der[1] = (uint8_t)(len - 2);
    return len;
}

/* Take a DER INTEGER off the front, into 32 bytes. */
static bool
der_take_integer(struct lk_span *der, uint8_t value[LK_ES256_HALF])
{
    size_t len, skip = 0;

    if (der->len < 3 || der->ptr[0] != 0x02 || der->ptr[1] > der->len - 2)
        return false;
    len = der->ptr[1];
    while (skip < len && der->ptr[2 + skip] == 0)
        skip++;
    if (len - skip > LK_ES256_HALF)
        return false;
    memset(value, 0, LK_ES256_HALF);
    memcpy(value + LK_ES256_HALF - (len - skip), der->ptr + 2 + skip, len - skip);
    *der = lk_span_of(der->ptr + 2 + len, der->len - 2 - len);
    return true;
}

/* What OpenSSL's own signer wrote. */
bool
lk_es256_from_der(struct lk_span der, uint8_t raw[LK_ES256_LEN])
{
    if (der.len < 2 || der.ptr[0] != 0x30 || der.ptr[1] != der.len - 2)
        return false;
    der = lk_span_of(der.ptr + 2, der.len - 2);
    return der_take_integer(&der, raw) && der_take_integer(&der, raw + LK_ES256_HALF) &&
           der.len == 0 && lk_es256_scalar_is_valid(raw) &&
           lk_es256_scalar_is_valid(raw + LK_ES256_HALF);
}
