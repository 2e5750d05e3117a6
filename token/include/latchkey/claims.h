/*
 * latchkey/claims.h - one claims struct for CWT (RFC 8392) and JWT (RFC 7519, RFC 9068).
 *
 * Spans point into the token or into the scratch room it was read with: keep both while you read.
 */
#ifndef LATCHKEY_CLAIMS_H
#define LATCHKEY_CLAIMS_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>
#include <latchkey/limits.h>

enum lk_format { LK_FORMAT_NONE = 0, LK_FORMAT_JWT, LK_FORMAT_CWT };

enum lk_cnf_kind {
    LK_CNF_NONE = 0,   /* no cnf claim: a bearer token */
    LK_CNF_KEY,        /* a public key: jwk, COSE_Key */
    LK_CNF_KID,        /* kid of a derived symmetric key; base64url of the bytes in a JWT */
    LK_CNF_X5T,        /* x5t#S256 of a client certificate; value: 32 bytes; JWT only */
    LK_CNF_THUMBPRINT, /* of a public key: jkt (RFC 9449), ckt (RFC 9679); value: 32 bytes */
    LK_CNF_ENCRYPTED,  /* Encrypted_COSE_Key (RFC 8747 section 3.3); CWT only */
    LK_CNF_OTHER       /* something we do not understand: never accepted */
};

struct lk_claims {
    enum lk_format format;
    struct lk_span issuer;     /* iss */
    struct lk_span subject;    /* sub */
    struct lk_span client;     /* client_id; JWT only, else absent */
    struct lk_span scope;      /* text; absent if there is none or it is not text */
    struct lk_span scope_data; /* a scope that is no text. CWT: the content of a byte string, or an
                                  array as encoded; JWT: an array as it stands; else absent */
    bool scope_is_mapped;      /* scope is a list of scopes taken from another claim: never AIF */
    struct lk_span token_id;   /* jti: its text; cti: its bytes */
    struct lk_span tenant;     /* tnt; absent: the default tenant */
    struct lk_span type;       /* dty; absent: not a device */
    struct lk_span audience[LK_AUDIENCE_MAX];
    size_t audience_count;
    struct lk_span children[LK_CHILDREN_MAX];
    size_t children_count;
    bool has_expires, has_not_before, has_issued, has_generation;
    int64_t expires_s; /* seconds since 1970-01-01 UTC; valid if the flag is set */
    int64_t not_before_s;
    int64_t issued_s;
    uint64_t generation; /* gen: of the subject's credentials */
    enum lk_cnf_kind cnf;
    struct lk_span cnf_value; /* kid bytes, thumbprint bytes, or the encoded key as it stands */
    struct lk_span raw;       /* the whole claims set as signed: for {claim.NAME} */
};

/**
 * Read a CWT claims set: one CBOR map, nothing after it.
 * @return LK_OK; LK_ERR_TYPE (also for a tagged value), LK_ERR_DUPLICATE, LK_ERR_LIMIT,
 * LK_ERR_UTF8, LK_ERR_RANGE, LK_ERR_MALFORMED (also for NUL in a text), LK_ERR_TRUNCATED,
 * LK_ERR_TRAILING.
 */
LK_MUST_CHECK enum lk_err lk_claims_read_cwt(struct lk_span payload, struct lk_claims *claims);

/**
 * Read a JWT claims set. `raw` is the text; the other spans point into `room`, where strings are
 * unescaped.
 *
 * @param room  room.cap >= text.len suffices.
 * @return as above, and LK_ERR_NO_SPACE.
 */
LK_MUST_CHECK enum lk_err lk_claims_read_jwt(struct lk_span text, struct lk_buf room,
                                             struct lk_claims *claims);

/**
 * Write; members in deterministic order. `raw` is not looked at. token_id: bytes, which a JWT has
 * as base64url; lk_token_issue asks for 16. A cnf value of kind KEY is written as it stands.
 * @return LK_OK, LK_ERR_NO_SPACE, LK_ERR_LIMIT, LK_ERR_RANGE, LK_ERR_UTF8 (JWT),
 *         LK_ERR_UNSUPPORTED for a cnf this format has not.
 */
LK_MUST_CHECK enum lk_err lk_claims_write_cwt(const struct lk_claims *claims, struct lk_buf room,
                                              struct lk_span *out);
LK_MUST_CHECK enum lk_err lk_claims_write_jwt(const struct lk_claims *claims, struct lk_buf room,
                                              struct lk_span *out);

/**
 * A top-level claim of any type by name, out of `raw`, as it stands: encoded CBOR or JSON text. For
 * a CWT the name is a text key. @return false if there is none.
 */
bool lk_claims_get_raw(const struct lk_claims *claims, struct lk_span name, struct lk_span *value);

/**
 * A top-level text claim by name, out of `raw`, for {claim.NAME}. For a CWT the name is a text key.
 * @param room  for unescaping a JWT's string.
 * @return false if there is none, or it is not text.
 */
bool lk_claims_get_text(const struct lk_claims *claims, struct lk_span name, struct lk_buf room,
                        struct lk_span *value);

#endif
