/*
 * message.h - a signed or encrypted message as it came in: what it is, what it says about its key,
 * what is signed. Form only; nothing is verified here.
 */
#ifndef LATCHKEY_CLI_MESSAGE_H
#define LATCHKEY_CLI_MESSAGE_H

#include "cli.h"

#include <latchkey/cose.h>
#include <latchkey/cose_encrypt.h>
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
    struct lk_cose cose; /* of an encrypted one: what was in it, once it is open */
    bool alg_unprotected;

    /* a COSE_Encrypt0: alg is LK_ALG_AEAD and there is no payload until message_open() */
    bool is_sealed;
    bool is_nested; /* opened, and it is a signed message in turn */
    struct lk_cose_encrypt0 sealed;

    uint8_t room[4 * LK_TOKEN_MAX]; /* decoded forms; what the spans point into */
    uint8_t text[LK_TOKEN_MAX];
};

struct message_wish {
    bool hex;
    bool alg_unprotected; /* take a COSE message whose alg is not protected */
};

/**
 * Take a message apart: JWS in compact form, COSE_Sign1, COSE_Mac0 or COSE_Encrypt0 as raw bytes,
 * hex or base64url.
 * @param in  as it was read; borrowed until the message is done with.
 */
LK_MUST_CHECK enum lk_err message_parse(struct lk_span in, const struct message_wish *wish,
                                        struct message *m);

/**
 * Decrypt a COSE_Encrypt0 with one key. If a tagged COSE_Sign1 or COSE_Mac0 is in it, that is taken
 * apart: alg, kid and payload are its, and it has yet to be verified.
 * @return LK_OK; LK_ERR_DEPTH for a second COSE_Encrypt0; the errors of decrypting and parsing.
 */
LK_MUST_CHECK enum lk_err message_open(struct message *m, const struct lk_key *key,
                                       struct lk_span external_aad);

/** Verify with one key. */
LK_MUST_CHECK enum lk_err message_verify(const struct message *m, const struct lk_key *key,
                                         struct lk_span external_aad);

/** Hex, white space between digits allowed. @return LK_OK, LK_ERR_SYNTAX, LK_ERR_NO_SPACE. */
LK_MUST_CHECK enum lk_err hex_decode(struct lk_span text, struct lk_buf room, struct lk_span *out);

/** Its algorithm, or its cipher: "ES256", "A128GCM". */
const char *message_alg(const struct message *m);

/** "JWT", "COSE_Sign1 in a CWT tag" ... */
const char *message_kind(const struct message *m);

#endif
