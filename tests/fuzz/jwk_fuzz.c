/* A text is a JWK or a JWKS, anything else a COSE_Key or a COSE_KeySet. What is read can be opened
 * or is refused. */
#include "fuzz.h"

#include <latchkey/cose_key.h>
#include <latchkey/jwk.h>

static void
write_back(const struct lk_key *key)
{
    uint8_t room[2048], print[32];
    struct lk_key again;
    struct lk_json_out w;
    struct lk_span out;
    struct lk_json r;

    PROMISE(lk_jwk_thumbprint(key, print) == LK_OK);
    lk_json_write_open(&w, LK_BUF_OF(room));
    lk_jwk_write_public(&w, key);
    /* A COSE kid may be any bytes; JSON has only text. Secret keys are not written. */
    if (lk_json_write_close(&w, &out) != LK_OK)
        return;
    lk_json_open(&r, room, out.len);
    PROMISE(lk_jwk_read(&r, &again) == LK_OK);
    PROMISE(again.alg == key->alg && !again.has_private);
    PROMISE(lk_span_equal(lk_key_kid(&again), lk_key_kid(key)));
}

static void
write_back_cbor(const struct lk_key *key)
{
    uint8_t room[2048], print[32];
    struct lk_key again;
    struct lk_cbor_out w;
    struct lk_span out;

    PROMISE(lk_cose_key_thumbprint(key, print) == LK_OK);
    lk_cbor_write_open(&w, LK_BUF_OF(room));
    lk_cose_key_write_public(&w, key);
    if (lk_cbor_write_close(&w, &out) != LK_OK) {
        PROMISE(lk_alg_is_symmetric(key->alg) || key->alg == LK_ALG_RS256);
        return;
    }
    PROMISE(lk_cose_key_parse(out, &again) == LK_OK);
    PROMISE(again.alg == key->alg && !again.has_private);
    PROMISE(lk_span_equal(lk_key_kid(&again), lk_key_kid(key)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_key keys[3];
    size_t count;

    memset(keys, 0, sizeof(keys));
    if (size > 0 && data[0] < 0x80) {
        uint8_t *text = malloc(size);

        if (text == NULL)
            return 0;
        memcpy(text, data, size);
        if (lk_jwks_read(text, size, keys, 3, &count) != LK_OK)
            PROMISE(count == 0);
        free(text);
    } else {
        if (lk_cose_keyset_read(lk_span_of(data, size), keys, 3, &count) != LK_OK)
            PROMISE(count == 0);
    }
    for (size_t i = 0; i < count; i++) {
        PROMISE(keys[i].prepared != NULL);
        write_back(&keys[i]);
        write_back_cbor(&keys[i]);
        lk_key_wipe(&keys[i]);
    }
    return 0;
}
