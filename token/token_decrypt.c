/* Encrypted CWTs (RFC 8392 section 7.2): opened with a key of an issuer, one layer deep. */
#include "token_parts.h"

#include <string.h>

#include <latchkey/cbor.h>
#include <latchkey/cose_encrypt.h>

enum lk_err
lk_token_parse_sealed_cwt(struct lk_span bytes, struct lk_buf scratch, struct lk_token *token)
{
    struct lk_cose_encrypt0 message;
    enum lk_err err = lk_cose_encrypt0_parse(bytes, false, &message);

    if (err != LK_OK)
        return err;
    token->format = LK_FORMAT_CWT;
    token->alg = LK_ALG_AEAD;
    token->kid = message.kid;
    token->sealed.message = bytes;
    token->sealed.room = scratch;
    memset(&token->claims, 0, sizeof(token->claims));
    return LK_OK;
}

/* Without a kid only where there is no choice. */
static bool
key_is_meant(const struct lk_keyset *keys, const struct lk_key *key, struct lk_span kid)
{
    size_t found = 0;

    if (kid.ptr != NULL)
        return kid.len > 0 && lk_span_equal(lk_key_kid(key), kid);
    for (size_t i = 0; i < keys->count; i++)
        found += keys->keys[i].alg == LK_ALG_AEAD;
    return found == 1;
}

/*
 * The issuer is not known yet, and two issuers may have given their keys one kid: each that is
 * meant is tried, at most one for every issuer. A key that opens the token settles whose it is.
 */
static enum lk_err
open_with_any(const struct lk_verifier *verifier, const struct lk_cose_encrypt0 *message,
              struct lk_token *token, struct lk_span *plain)
{
    enum lk_err err = LK_ERR_KEY;

    for (size_t i = 0; i < verifier->keys->count; i++) {
        const struct lk_key *key = &verifier->keys->keys[i];

        if (key->alg != LK_ALG_AEAD || key->issuer >= verifier->issuer_count ||
            !key_is_meant(verifier->keys, key, message->kid))
            continue;
        if (verifier->issuers[key->issuer].own) {
            err = LK_ERR_FORM;
            continue;
        }
        err = lk_cose_encrypt0_decrypt(message, key, LK_SPAN(""), token->sealed.room, plain);
        if (err == LK_OK)
            token->sealed.key = key;
        if (err != LK_ERR_ALG && err != LK_ERR_SIGNATURE)
            return err;
    }
    return err;
}

/* A tag begins a COSE message, a map the claims. */
static enum lk_err
plaintext_read(struct lk_span plain, struct lk_token *token)
{
    enum lk_err err;

    if (plain.len == 0 || plain.ptr[0] >> 5 != LK_CBOR_TAG)
        return lk_claims_read_cwt(plain, &token->claims);
    if (lk_cose_is_encrypt0(plain))
        return LK_ERR_DEPTH;
    err = lk_token_parse_signed_cwt(plain, token);
    token->own_form = false;
    return err;
}

static enum lk_err
open_token(const struct lk_verifier *verifier, struct lk_token *token)
{
    struct lk_cose_encrypt0 message;
    struct lk_span plain;
    enum lk_err err = lk_cose_encrypt0_parse(token->sealed.message, false, &message);

    if (err == LK_OK)
        err = open_with_any(verifier, &message, token, &plain);
    if (err == LK_OK)
        err = plaintext_read(plain, token);
    if (err == LK_OK &&
        !lk_span_equal(token->claims.issuer, verifier->issuers[token->sealed.key->issuer].url))
        err = LK_ERR_ISSUER;
    return err;
}

enum lk_err
lk_token_decrypt(const struct lk_verifier *verifier, struct lk_token *token)
{
    enum lk_err err;

    if (token->sealed.message.ptr == NULL)
        return LK_OK;
    err = token->sealed.key == NULL ? open_token(verifier, token) : LK_ERR_STATE;
    if (err != LK_OK) {
        if (token->sealed.key != NULL)
            lk_wipe(token->sealed.room.ptr, token->sealed.room.cap);
        memset(token, 0, sizeof(*token));
    }
    return err;
}

enum lk_err
lk_token_find_sealed_key(const struct lk_verifier *verifier, const struct lk_token *token,
                         const struct lk_issuer **issuer, const struct lk_key **key)
{
    const struct lk_key *found = token->sealed.key;

    if (found == NULL)
        return LK_ERR_UNSUPPORTED;
    if (found->issuer >= verifier->issuer_count ||
        !lk_span_equal(verifier->issuers[found->issuer].url, token->claims.issuer))
        return LK_ERR_ISSUER;
    if (token->part_count > 0)
        found = lk_keyset_get(verifier->keys, found->issuer, token->kid);
    if (found == NULL)
        return LK_ERR_KEY;
    if (found->alg != token->alg || !lk_issuer_takes(&verifier->issuers[found->issuer], token->alg))
        return LK_ERR_ALG;
    *issuer = &verifier->issuers[found->issuer];
    *key = found;
    return LK_OK;
}
