/*
 * ace.h - the enhanced authentication method `ace` (RFC 9431 section 2.2.4.2): what its packets
 * carry, and the challenges that wait for an answer.
 *
 *     client                                   broker
 *     CONNECT    u16 length, token        -->
 *                                         <--  AUTH 0x18   nonce[8]
 *     AUTH 0x18  nonce[8], proof          -->              proof: over both nonces, ours first
 *                                         <--  CONNACK
 *
 * Renewal is the same with AUTH 0x19 in place of CONNECT and AUTH 0x00 in place of CONNACK. The
 * proof is a plain signature (ES256 as r||s, Ed25519) or an HMAC-SHA-256 tag.
 *
 * Not here: a proof over the TLS exporter. A plugin cannot see the TLS connection.
 */
#ifndef PLUGIN_ACE_H
#define PLUGIN_ACE_H

#include <latchkey/key.h>

#include "limits.h"

#define ACE_NONCE_LEN 8 /* bytes; RFC 9431 section 2.2.4.2.2 */

struct mosquitto;

/**
 * Read the Authentication Data of CONNECT or AUTH 0x19.
 * @param token  [out] points into data; absent where the client sent none.
 * @return LK_OK; LK_ERR_MALFORMED; LK_ERR_UNSUPPORTED for a proof behind the token: one over the
 *         TLS exporter.
 */
LK_MUST_CHECK enum lk_err ace_read_token(struct lk_span data, struct lk_span *token);

/** Check the client's answer. @param key opened. @return LK_OK, LK_ERR_SIGNATURE, LK_ERR_CRYPTO,
 *  LK_ERR_MALFORMED (no room for a nonce and a proof). */
LK_MUST_CHECK enum lk_err ace_check_answer(const struct lk_key *key,
                                           const uint8_t nonce[ACE_NONCE_LEN],
                                           struct lk_span answer);

/** One challenge. The token waits with it and is judged again when the answer has come. */
struct challenge {
    const struct mosquitto *client;
    uint8_t nonce[ACE_NONCE_LEN];
    int64_t due_ms;
    uint64_t key_serial; /* of the key that verified the token; 0: none yet */
    bool renewal;
    bool stored;    /* the token was not in the client's packet, but published before */
    uint8_t *token; /* NULL: it is too late for an answer */
    size_t token_len;
};

struct challenges {
    struct challenge waiting[CHALLENGES_MAX];
    size_t count;
    int64_t next_ms; /* none is due before */
};

/**
 * Challenge a client. What was waiting for it before is forgotten; when there are too many, the
 * oldest gives way.
 * @param c      client, key_serial, renewal and stored are given, nonce and due_ms filled in.
 * @param token  copied.
 * @return LK_OK, LK_ERR_NOMEM, LK_ERR_CRYPTO (no randomness).
 */
LK_MUST_CHECK enum lk_err challenges_add(struct challenges *all, struct challenge *c,
                                         struct lk_span token, int64_t now_ms);

/** Take the challenge of a client out, for its one answer. @return false: there is none. Give it
 *  back with challenge_wipe. */
bool challenges_take(struct challenges *all, const struct mosquitto *client,
                     struct challenge *taken);
void challenge_wipe(struct challenge *c);

/** The client is gone. */
void challenges_drop(struct challenges *all, const struct mosquitto *client);

/** Give up the tokens of those that have waited too long; that they did is still known. */
void challenges_expire(struct challenges *all, int64_t now_ms);

void challenges_close(struct challenges *all);

#endif
