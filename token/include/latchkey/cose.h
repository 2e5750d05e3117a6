/*
 * latchkey/cose.h - COSE_Sign1 and COSE_Mac0 (RFC 9052), read and written.
 *
 * Strict where a lenient reader would give an attacker a choice: a label twice in a bucket or in
 * both buckets, an unknown `crit`, `alg` outside the protected bucket, a payload that is not there
 * are all refused. Spans point into the message.
 */
#ifndef LATCHKEY_COSE_H
#define LATCHKEY_COSE_H

#include <latchkey/cbor.h>
#include <latchkey/cose_key.h>
#include <latchkey/key.h>

enum lk_cose_kind { LK_COSE_NONE = 0, LK_COSE_MAC0 = 17, LK_COSE_SIGN1 = 18 };

struct lk_cose {
    enum lk_cose_kind kind;
    bool cwt_tag;  /* tag 61 was there */
    bool cose_tag; /* tag 17 or 18 was there */
    enum lk_alg alg;
    bool kid_protected;
    bool unprotected_empty;
    struct lk_span kid;        /* absent: {NULL, 0} */
    struct lk_span protected_; /* content of the byte string; empty for 40 and for 41 a0 */
    struct lk_span payload;
    struct lk_span signature; /* or tag */
};

/**
 * Read a message without trusting it.
 *
 * @param untagged  What a message without tag 17 or 18 is; LK_COSE_NONE refuses those.
 * @return LK_OK, LK_ERR_ALG for an algorithm we do not take, LK_ERR_CRIT, LK_ERR_DUPLICATE,
 *         LK_ERR_MALFORMED, LK_ERR_TYPE, LK_ERR_MISSING (no alg), LK_ERR_UNSUPPORTED (another
 *         COSE structure), or the CBOR reader's error.
 */
LK_MUST_CHECK enum lk_err lk_cose_parse(struct lk_span message, enum lk_cose_kind untagged,
                                        struct lk_cose *out);

/** Verify with a key: LK_ERR_ALG unless key->alg is the message's. @param external_aad often empty.
 */
LK_MUST_CHECK enum lk_err lk_cose_verify(const struct lk_cose *message, const struct lk_key *key,
                                         struct lk_span external_aad);

/**
 * Write 61(18([...])) or 61(17([...])) with alg and kid protected and an empty unprotected map:
 * the only form our own issuer writes (RFC 9770 section 9.2).
 */
LK_MUST_CHECK enum lk_err lk_cose_write_cwt(const struct lk_key *key, struct lk_span payload,
                                            struct lk_buf room, struct lk_span *out);

#endif
