/*
 * message.h - a signed message as it came in: what it is, what it says about its key, what is
 * signed. Form only; nothing is verified here.
 */
#ifndef LATCHKEY_CLI_MESSAGE_H
#define LATCHKEY_CLI_MESSAGE_H

#include "cli.h"

#include <latchkey/cose.h>
#include <latchkey/limits.h>

struct message {
    bool is_jws;
    struct lk_span whole; /* the JWS text, or the raw COSE message */
    enum lk_alg alg;
    struct lk_span kid; /* absent: {NULL, 0} */
    struct lk_span payload;

    /* a JWS */
    struct lk_span header;        /* decoded JSON */
    struct lk_span signing_input; /* header '.' payload, encoded */
    struct lk_span signature;

    /* a COSE message */
    struct lk_cose cose;
    bool alg_unprotected;

    uint8_t room[4 * LK_TOKEN_MAX]; /* decoded forms; what the spans point into */
    uint8_t text[LK_TOKEN_MAX];
};

struct message_wish {
    bool hex;
    bool alg_unprotected; /* take a COSE message whose alg is not protected */
};

/**
 * Take a message apart: JWS in compact form, COSE_Sign1 or COSE_Mac0 as raw bytes, hex or
 * base64url.
 * @param in  as it was read; borrowed until the message is done with.
 */
LK_MUST_CHECK enum lk_err message_parse(struct lk_span in, const struct message_wish *wish,
                                        struct message *m);

/** Verify with one key. */
LK_MUST_CHECK enum lk_err message_verify(const struct message *m, const struct lk_key *key,
                                         struct lk_span external_aad);

/** Hex, white space between digits allowed. @return LK_OK, LK_ERR_SYNTAX, LK_ERR_NO_SPACE. */
LK_MUST_CHECK enum lk_err hex_decode(struct lk_span text, struct lk_buf room, struct lk_span *out);

/** "JWT", "COSE_Sign1 in a CWT tag" ... */
const char *message_kind(const struct message *m);

#endif
