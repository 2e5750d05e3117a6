/*
 * A COSE message: the first byte says what it is without a tag and how many bytes of external_aad
 * stand before it. What lk_cose_verify takes is what a MAC over the structure of RFC 9052 says,
 * which is written here as a whole.
 */
#include "fuzz.h"

#include <latchkey/cose.h>
#include <latchkey/crypto.h>

#include "trusted.h"

static uint8_t structure_room[LK_TOKEN_MAX * 2];

/* RFC 9052 sections 4.4 and 6.3 */
static struct lk_span
structure_write(const struct lk_cose *m, struct lk_span aad)
{
    struct lk_cbor_out w;
    struct lk_span out;

    lk_cbor_write_open(&w, LK_BUF_OF(structure_room));
    lk_cbor_write_array(&w, 4);
    lk_cbor_write_text(&w, m->kind == LK_COSE_MAC0 ? LK_SPAN("MAC0") : LK_SPAN("Signature1"));
    lk_cbor_write_bytes(&w, m->protected_);
    lk_cbor_write_bytes(&w, aad);
    lk_cbor_write_bytes(&w, m->payload);
    PROMISE(lk_cbor_write_close(&w, &out) == LK_OK);
    return out;
}

static void
form_holds(const struct lk_cose *m, struct lk_span message, enum lk_cose_kind untagged)
{
    bool is_mac = m->alg == LK_ALG_HS256 || m->alg == LK_ALG_HS256_64;

    PROMISE(lies_in(m->kid, message) && lies_in(m->payload, message));
    PROMISE(lies_in(m->signature, message));
    PROMISE(m->protected_.len == 0 || lies_in(m->protected_, message));
    PROMISE(m->alg != LK_ALG_NONE && is_mac == (m->kind == LK_COSE_MAC0));
    PROMISE(m->cose_tag || (m->kind == untagged && !m->cwt_tag));
    PROMISE(!m->kid_protected || m->kid.ptr != NULL);
    PROMISE(!m->unprotected_empty || m->kid_protected || m->kid.ptr == NULL);
}

static void
verify_agrees(const struct lk_cose *m, struct lk_span aad)
{
    const struct lk_key *key = trusted_key(m->alg);
    uint8_t room[LK_SIGNATURE_MAX];
    struct lk_span structure = structure_write(m, aad), right;
    struct lk_cose signed_anew = *m;
    enum lk_err err;

    if (key == NULL)
        return;
    err = lk_crypto_verify(key, &structure, 1, m->signature);
    PROMISE(lk_cose_verify(m, key, aad) == err);
    PROMISE(lk_crypto_sign(key, &structure, 1, LK_BUF_OF(room), &right) == LK_OK);
    signed_anew.signature = right;
    PROMISE(lk_cose_verify(&signed_anew, key, aad) == LK_OK);
    room[right.len / 2] ^= 1;
    PROMISE(lk_cose_verify(&signed_anew, key, aad) == LK_ERR_SIGNATURE);
    for (enum lk_alg other = LK_ALG_ES256; other <= LK_ALG_HS256_64; other++)
        if (other != m->alg)
            PROMISE(lk_cose_verify(m, trusted_key(other), aad) == LK_ERR_ALG);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum lk_cose_kind kinds[] = {LK_COSE_NONE, LK_COSE_SIGN1, LK_COSE_MAC0,
                                              LK_COSE_SIGN1};
    static const struct lk_cose nothing;
    struct lk_span aad, message;
    enum lk_cose_kind untagged;
    struct lk_cose m;

    if (size == 0 || size > LK_TOKEN_MAX || size <= (size_t)(data[0] >> 2))
        return 0;
    untagged = kinds[data[0] & 3];
    aad = lk_span_of(data + 1, data[0] >> 2);
    message = lk_span_of(aad.ptr + aad.len, size - 1 - aad.len);
    if (lk_cose_parse(message, untagged, &m) != LK_OK) {
        PROMISE(memcmp(&m, &nothing, sizeof(m)) == 0);
        return 0;
    }
    form_holds(&m, message, untagged);
    verify_agrees(&m, aad);
    return 0;
}
