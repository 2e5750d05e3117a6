/*
 * token_parts.h - what the two files that verify tokens share; private to the token library.
 */
#ifndef LK_TOKEN_PARTS_H
#define LK_TOKEN_PARTS_H

#include <latchkey/token.h>

/** Is this algorithm among those the issuer may use? */
static inline bool
lk_issuer_takes(const struct lk_issuer *issuer, enum lk_alg alg)
{
    return issuer->algs == 0 || (issuer->algs >> (unsigned)alg & 1) != 0;
}

/** Take a COSE_Sign1 or COSE_Mac0 and its claims apart. LK_ERR_UNSUPPORTED for other structures. */
LK_MUST_CHECK enum lk_err lk_token_parse_signed_cwt(struct lk_span bytes, struct lk_token *token);

/** Take a COSE_Encrypt0 apart. LK_ERR_UNSUPPORTED for other structures. */
LK_MUST_CHECK enum lk_err lk_token_parse_sealed_cwt(struct lk_span bytes, struct lk_buf scratch,
                                                    struct lk_token *token);

/** lk_token_find_key for a token that is encrypted. */
LK_MUST_CHECK enum lk_err lk_token_find_sealed_key(const struct lk_verifier *verifier,
                                                   const struct lk_token *token,
                                                   const struct lk_issuer **issuer,
                                                   const struct lk_key **key);

#endif
