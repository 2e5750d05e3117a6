/*
 * latchkey/device/token_request.h - ask for a token, read the answer. Bytes only, no I/O.
 *
 * Both are CBOR maps of RFC 9200 section 5.8 (`application/ace+cbor`), over HTTPS or CoAPS.
 * Latchkey's server knows one key beyond the RFC: -65537, `token_format`.
 */
#ifndef LATCHKEY_DEVICE_TOKEN_REQUEST_H
#define LATCHKEY_DEVICE_TOKEN_REQUEST_H

#include <latchkey/bytes.h>
#include <latchkey/claims.h>
#include <latchkey/err.h>

#define LK_ACE_CBOR "application/ace+cbor"

/** Absent spans are left out, and the server's default applies. */
struct lk_token_request {
    struct lk_span client_id;     /* required */
    struct lk_span client_secret; /* required; the text as it was shown, 43 characters */
    struct lk_span refresh_token; /* present: grant refresh_token; absent: client_credentials */
    struct lk_span audience;
    struct lk_span scope;
    enum lk_format format; /* LK_FORMAT_NONE: the server's default */
    uint32_t expires_in_s; /* asks for a shorter life; 0: the server's default */
};

/** RFC 9200 section 8.4 (error codes of the token endpoint). */
enum lk_oauth_error {
    LK_OAUTH_NONE = 0,
    LK_OAUTH_INVALID_REQUEST = 1,
    LK_OAUTH_INVALID_CLIENT = 2,
    LK_OAUTH_INVALID_GRANT = 3,
    LK_OAUTH_UNAUTHORIZED_CLIENT = 4,
    LK_OAUTH_UNSUPPORTED_GRANT_TYPE = 5,
    LK_OAUTH_INVALID_SCOPE = 6,
    LK_OAUTH_UNSUPPORTED_POP_KEY = 7,
    LK_OAUTH_INCOMPATIBLE_ACE_PROFILES = 8
};

/** Spans point into the body that was parsed. */
struct lk_token_answer {
    struct lk_span access_token;  /* raw CWT, or the text of a JWT; opaque to a device */
    struct lk_span refresh_token; /* absent if there is none */
    struct lk_span scope;         /* absent if it is as asked for */
    uint32_t expires_in_s;
    int32_t error; /* enum lk_oauth_error, or another number of the registry */
    struct lk_span error_description;
};

/**
 * Write the request. It contains the secret: wipe the room when it has been sent.
 *
 * @param body  [out] inside `room`. 128 bytes, the texts and the refresh token suffice.
 * @return LK_OK, LK_ERR_ARG (id or secret missing, a text that is not UTF-8), LK_ERR_NO_SPACE.
 */
LK_MUST_CHECK enum lk_err lk_token_request_write(const struct lk_token_request *request,
                                                 struct lk_buf room, struct lk_span *body);

/**
 * Read the answer, a token or an error; LK_OK for either, told apart by answer->error.
 *
 * A token without expires_in is refused, since nobody could know when to renew it (RFC 9200 section
 * 5.8.2). Unknown keys are ignored.
 *
 * @return LK_OK; LK_ERR_MALFORMED and its range; LK_ERR_MISSING; LK_ERR_BOUND for a token that is
 *         bound to a key, which this SDK did not ask for. On error the answer is zeroed.
 */
LK_MUST_CHECK enum lk_err lk_token_answer_parse(struct lk_span body,
                                                struct lk_token_answer *answer);

/** "invalid_client" and so on; "unknown" for other numbers. Never NULL. */
const char *lk_oauth_error_name(int32_t error);

#endif
