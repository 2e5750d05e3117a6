/*
 * A CWT, signed anew with the key its header asks for: the fuzzer sees what stands behind the check
 * of the signature. What is in our own form is, byte by byte, what would be written.
 */
#include "fuzz.h"

#include <latchkey/cose.h>
#include <latchkey/crypto.h>

#include "trusted.h"

static uint8_t message[LK_TOKEN_MAX], scratch[LK_TOKEN_SCRATCH_MAX];

/* Overwrite the signature, if there is just the room for it. */
static void
sign_anew(size_t len, const struct lk_token *token)
{
    uint8_t room[LK_SIGNATURE_MAX];
    const struct lk_key *key = trusted_key(token->alg);
    struct lk_span signature;

    if (key == NULL || token->signature.len != lk_alg_signature_len(token->alg))
        return;
    PROMISE(lies_in(token->signature, lk_span_of(message, len)));
    PROMISE(lk_crypto_sign(key, token->parts, token->part_count, LK_BUF_OF(room), &signature) ==
            LK_OK);
    PROMISE(signature.len == token->signature.len);
    memcpy(message + (token->signature.ptr - message), signature.ptr, signature.len);
}

static void
own_form_is_written_form(struct lk_span text, const struct lk_token *token)
{
    static uint8_t room[LK_TOKEN_MAX];
    struct lk_key key;
    struct lk_span out;

    PROMISE(token->kid.len > 0 && token->kid.len <= LK_KID_MAX);
    key = *trusted_key(token->alg); /* with another kid; what is prepared stays the set's */
    memcpy(key.kid, token->kid.ptr, token->kid.len);
    key.kid_len = token->kid.len;
    PROMISE(lk_cose_write_cwt(&key, token->claims.raw, LK_BUF_OF(room), &out) == LK_OK);
    PROMISE(out.len == text.len);
    /* every signature of ES256 is another */
    PROMISE(memcmp(out.ptr, text.ptr, out.len - token->signature.len) == 0);
    if (token->alg != LK_ALG_ES256)
        PROMISE(lk_span_equal(out, text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_span text = lk_span_of(message, size);
    struct lk_token token;

    if (size == 0 || size > sizeof(message) || data[0] < 0x80)
        return 0;
    memcpy(message, data, size);
    if (lk_token_parse(text, LK_BUF_OF(scratch), &token) != LK_OK)
        return 0;
    PROMISE(token.format == LK_FORMAT_CWT && memcmp(message, data, size) == 0);
    token_lies_in(&token, text, lk_span_of(NULL, 0));
    claims_write_back(&token.claims);
    sign_anew(size, &token);
    /* another signature may have another s, and with it be in another form */
    PROMISE(lk_token_parse(text, LK_BUF_OF(scratch), &token) == LK_OK);
    if (token.own_form && trusted_key(token.alg) != NULL &&
        token.signature.len == lk_alg_signature_len(token.alg))
        own_form_is_written_form(text, &token);
    if (lk_token_verify(trusted_verifier(), text, TRUSTED_NOW_S, LK_BUF_OF(scratch), &token) ==
        LK_OK)
        accepted_holds(text, &token);
    return 0;
}
