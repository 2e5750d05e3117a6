/*
 * latchkey/err.h - every error of every part, once.
 *
 * A range has a meaning, so an edge can translate a range where it need not know the member:
 *
 *    1-19  the caller's side: wrong argument, no room, wrong moment
 *   20-39  the bytes are not what they claim to be
 *   40-59  well-formed, but not to be trusted
 *   60-79  the world: files, clock, network, other libraries
 *
 * Numbers are fixed for good: they appear in logs and on metrics pages.
 */
#ifndef LATCHKEY_ERR_H
#define LATCHKEY_ERR_H

/* clang-format off */
#define LK_ERR_LIST(X)                                                              \
    X(OK,           0, "success")                                                   \
    /* 1-19: the caller */                                                          \
    X(ARG,          1, "an argument is not valid")                                  \
    X(NO_SPACE,     2, "the output buffer is too small")                            \
    X(LIMIT,        3, "longer or larger than a fixed limit")                       \
    X(STATE,        4, "not possible in this state")                                \
    X(UNSUPPORTED,  5, "valid, but not supported by this build")                    \
    /* 20-39: the bytes */                                                          \
    X(TRUNCATED,   20, "the input ends in the middle of an item")                   \
    X(MALFORMED,   21, "the input is not well-formed")                              \
    X(TYPE,        22, "an item has another type than the format prescribes")       \
    X(DUPLICATE,   23, "a key or member appears twice")                             \
    X(DEPTH,       24, "nested too deeply")                                         \
    X(TRAILING,    25, "bytes follow the end of the item")                          \
    X(UTF8,        26, "text is not valid UTF-8")                                   \
    X(BASE64,      27, "not canonical base64url")                                   \
    X(MISSING,     28, "a required member is missing")                              \
    X(CRIT,        29, "a critical header parameter is not understood")             \
    X(RANGE,       30, "a number is out of range")                                  \
    X(SYNTAX,      31, "the text does not follow the grammar")                      \
    /* 40-59: trust */                                                              \
    X(ALG,         40, "the algorithm is not the one this key is for")              \
    X(KEY,         41, "no key with this issuer and key id")                        \
    X(SIGNATURE,   42, "the signature does not verify")                             \
    X(ISSUER,      43, "the issuer is not one we trust")                            \
    X(AUDIENCE,    44, "the token is for another audience")                         \
    X(EXPIRED,     45, "the token has expired")                                     \
    X(NOT_YET,     46, "the token is not valid yet")                                \
    X(REVOKED,     47, "the token or its subject was revoked")                      \
    X(SUBJECT,     48, "the client id does not belong to the token's subject")      \
    X(BOUND,       49, "the token is bound to a key and possession was not proven") \
    X(SCOPE,       50, "the scope is not understood or not permitted")              \
    X(TYP,         51, "the token is of another type")                              \
    X(CLAIM,       52, "a required claim is missing")                               \
    X(FORM,        53, "not the one form our own issuer writes")                    \
    X(DENIED,      54, "not permitted")                                             \
    X(CREDENTIAL,  55, "the credential is wrong or unknown")                        \
    /* 60-79: the world */                                                          \
    X(IO,          60, "input or output failed")                                    \
    X(CRYPTO,      61, "the crypto library failed")                                 \
    X(CLOCK,       62, "the clock cannot be right")                                 \
    X(BUSY,        63, "busy, try again later")                                     \
    X(UNAVAILABLE, 64, "not available now")                                         \
    X(NOMEM,       65, "out of memory")                                             \
    X(EXISTS,      66, "already there")                                             \
    X(NOT_FOUND,   67, "not there")                                                 \
    X(CLOSED,      68, "the connection was closed")                                 \
    X(TIMEOUT,     69, "no answer in time")                                         \
    X(PERMISSION,  70, "the file's owner or mode is not safe")
/* clang-format on */

enum lk_err {
#define LK_ERR_ENUM(name, number, text) LK_ERR_##name = (number),
    LK_ERR_LIST(LK_ERR_ENUM)
#undef LK_ERR_ENUM
};
#define LK_OK LK_ERR_OK

#define LK_MUST_CHECK __attribute__((warn_unused_result))

/** The name without its prefix ("EXPIRED"), for logs. Never NULL; unknown numbers give "UNKNOWN".
 */
const char *lk_err_name(enum lk_err err);

/** The sentence of the list above, for people. Never NULL. */
const char *lk_err_text(enum lk_err err);

#endif
