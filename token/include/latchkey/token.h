/*
 * latchkey/token.h - verify and issue access tokens. What most callers use.
 *
 * A token is a CWT (COSE_Sign1 or COSE_Mac0) or a compact JWT. Which one is seen from its bytes;
 * base64url of a CWT, as it stands in an MQTT password, is recognised too. A CWT of somebody else's
 * issuer may be encrypted for us as well (COSE_Encrypt0): lk_token_decrypt.
 *
 * Order of the checks: size, form, key and algorithm, signature; then typ, times, issuer,
 * audience, required claims. No claim is believed before the signature over it has been verified;
 * the issuer's name is read earlier only to choose among keys.
 *
 * Not here: revocation, binding to a client id, proof of possession, scopes: the caller's business.
 */
#ifndef LATCHKEY_TOKEN_H
#define LATCHKEY_TOKEN_H

#include <latchkey/claims.h>
#include <latchkey/keyset.h>
#include <latchkey/limits.h>

/** An issuer whose tokens are taken. Spans are borrowed for as long as the verifier is used. */
struct lk_issuer {
    struct lk_span url; /* exact match with `iss` */
    bool own;           /* Latchkey's own server: its strict form is asked for (LK_ERR_FORM) */
    struct lk_span typ; /* JOSE header typ that must be there, without "application/"; absent: any.
                           For our own issuer "at+jwt" (RFC 9068) */
    uint32_t algs;      /* bit n: algorithm n of enum lk_alg is taken; 0: whatever its keys are for.
                           LK_ALG_AEAD: claims that are encrypted and not signed */

    /* How another issuer says what ours says; absent: as ours does. See lk_token_map_claims. */
    struct lk_span scope_claim;   /* scopes: a text or an array of texts. A top-level claim by name,
                                     or a path: realm_access.roles, scp, permissions */
    struct lk_span scope_prefix;  /* only scopes that begin with it count; it is taken off */
    struct lk_span subject_claim; /* a text, which must be there; by name or path */
    struct lk_span tenant;        /* forced, whatever the token says */
};

struct lk_verifier {
    const struct lk_keyset *keys; /* lk_key.issuer is an index into issuers */
    const struct lk_issuer *issuers;
    size_t issuer_count;
    struct lk_span audience; /* must be among `aud` */
    int64_t leeway_s;
};

/** A token taken apart, not yet trusted. */
struct lk_token {
    enum lk_format format;
    enum lk_alg alg;         /* as the token names it */
    struct lk_span kid;      /* absent: {NULL, 0} */
    struct lk_span typ;      /* JOSE header; absent for a CWT */
    struct lk_span parts[4]; /* what is signed, in order; none where only the AEAD vouches */
    size_t part_count;
    uint8_t heads[3][24]; /* COSE heads that parts point into: do not copy this struct */
    struct lk_span signature;
    bool own_form; /* the form our own issuer writes */
    struct {
        struct lk_span message;   /* COSE_Encrypt0; absent: the token is not encrypted */
        struct lk_buf room;       /* scratch that is left for its plaintext */
        const struct lk_key *key; /* that opened it, in the verifier's keyset; NULL: not yet */
    } sealed;
    struct lk_claims claims; /* of an encrypted token: empty until it is opened */
};

/**
 * Take a token apart. Form only: nothing is verified and no claim is to be believed.
 *
 * @param text     JWT text, raw CWT, or base64url of a CWT; at most LK_TOKEN_MAX bytes.
 * @param scratch  working room, LK_TOKEN_SCRATCH_MAX bytes always suffice; claims point into it.
 * @return LK_OK; LK_ERR_LIMIT (nothing was parsed), LK_ERR_NO_SPACE, LK_ERR_ALG (none, or one we do
 *         not take), LK_ERR_MALFORMED and its range.
 */
LK_MUST_CHECK enum lk_err lk_token_parse(struct lk_span text, struct lk_buf scratch,
                                         struct lk_token *token);

/**
 * Open an encrypted CWT; nothing happens to any other token. Whoever leaves this step out takes no
 * encrypted tokens: lk_token_find_key refuses them.
 *
 * The key is an LK_ALG_AEAD key of any of the verifier's issuers that has the token's kid; a token
 * without a kid is opened only if the verifier has exactly one such key. The plaintext is either
 * the claims, for which the AEAD vouches, or one tagged COSE_Sign1 or COSE_Mac0 around them (RFC
 * 8392 section 7.2), which lk_token_check_signature then verifies with a key of the same issuer.
 *
 * The claims point into the scratch the token was parsed with. It holds the plaintext, which may
 * have a secret key in it: wipe it when you are done.
 *
 * @return LK_OK; LK_ERR_KEY, LK_ERR_ALG (the key is for another cipher), LK_ERR_SIGNATURE (it does
 *         not open), LK_ERR_FORM (own issuers do not encrypt), LK_ERR_ISSUER (`iss` is not the
 *         issuer the key belongs to), LK_ERR_DEPTH (encrypted twice), LK_ERR_NO_SPACE,
 *         LK_ERR_CRYPTO, and for the plaintext the errors of lk_token_parse. On error the token is
 *         zeroed and the plaintext wiped.
 */
LK_MUST_CHECK enum lk_err lk_token_decrypt(const struct lk_verifier *verifier,
                                           struct lk_token *token);

/**
 * Choose the issuer and the key: LK_ERR_ISSUER, LK_ERR_KEY, LK_ERR_ALG (the key is for another, or
 * it is not one of the issuer's `algs`), LK_ERR_UNSUPPORTED (encrypted, and not opened).
 */
LK_MUST_CHECK enum lk_err lk_token_find_key(const struct lk_verifier *verifier,
                                            const struct lk_token *token,
                                            const struct lk_issuer **issuer,
                                            const struct lk_key **key);

/**
 * LK_OK, LK_ERR_SIGNATURE, LK_ERR_ALG, LK_ERR_CRYPTO. Claims that were only encrypted have no
 * signature: the key must be the one that opened them, else LK_ERR_ALG.
 */
LK_MUST_CHECK enum lk_err lk_token_check_signature(const struct lk_token *token,
                                                   const struct lk_key *key);

/**
 * Everything after the signature.
 * @return LK_OK;
 *   LK_ERR_FORM      own issuer, but not the form it writes
 *   LK_ERR_TYP       another typ than the issuer's
 *   LK_ERR_CLAIM     missing: iss, sub, exp; of our own issuer also aud, iat, jti
 *   LK_ERR_EXPIRED   exp + leeway <= now
 *   LK_ERR_NOT_YET   nbf > now + leeway, or iat > now + leeway
 *   LK_ERR_AUDIENCE  ours is not among `aud`
 *   LK_ERR_BOUND     `cnf` holds a secret or private key, and the token is not encrypted: everybody
 *                    who saw it could prove possession (RFC 8747 section 3.2, RFC 7800 section 3.2)
 */
LK_MUST_CHECK enum lk_err lk_token_check_claims(const struct lk_verifier *verifier,
                                                const struct lk_issuer *issuer,
                                                const struct lk_token *token, int64_t now_s);

/**
 * Put what another issuer says under names of its own where the claims of ours are: scope, subject,
 * tenant. After the signature and before lk_token_check_claims. A token of our own issuer stays as
 * it is. May be repeated.
 *
 * Entries of a scope array that are no scopes (RFC 6749 section 3.3: also what has a space in it,
 * or is longer than LK_SCOPE_MAX) are left out. With scope_claim or scope_prefix the token's own
 * `scope` counts no more, and what counts is a list, never AIF; without a scope claim there are no
 * scopes. A JWT's array of texts in `scope` itself is read as a list too.
 *
 * @param scratch  the room given to lk_token_parse: the mapped texts stand behind what it took.
 * @return LK_OK; LK_ERR_CLAIM (no subject, or it is no text), LK_ERR_SCOPE (neither a text nor an
 *         array of texts), LK_ERR_LIMIT (LK_SCOPE_MAX, LK_SCOPES_MAX, or a claim of more than some
 *         5000 bytes), LK_ERR_NO_SPACE for less scratch than LK_TOKEN_SCRATCH_MAX.
 */
LK_MUST_CHECK enum lk_err lk_token_map_claims(const struct lk_issuer *issuer, struct lk_buf scratch,
                                              struct lk_token *token);

/**
 * All of the above in order. The scratch of an encrypted token is wiped on error, and the caller's
 * to wipe on success.
 * @param now_s  current time, seconds since 1970-01-01 UTC; passed in, the library keeps no clock.
 * @param token  [out] filled on success, zeroed on every error.
 */
LK_MUST_CHECK enum lk_err lk_token_verify(const struct lk_verifier *verifier, struct lk_span text,
                                          int64_t now_s, struct lk_buf scratch,
                                          struct lk_token *token);

/**
 * Sign a token. JWT: header {"alg","kid","typ":"at+jwt"}, text out. CWT: raw bytes out, in the one
 * form lk_cose_write_cwt writes.
 *
 * @param claims  issuer, subject, audience, times, token_id (16 bytes; becomes base64url in a JWT),
 *                client (JWT), scope, and the optional ones. Without a required one: LK_ERR_CLAIM.
 * @param key     opened, with its private part, with a kid.
 * @param out     [out] inside `room`; LK_TOKEN_MAX suffices, a longer token is LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err lk_token_issue(const struct lk_claims *claims, enum lk_format format,
                                         const struct lk_key *key, struct lk_buf room,
                                         struct lk_span *out);

#endif
