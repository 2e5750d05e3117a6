/*
 * latchkey/aif.h - the Authorization Information Format (RFC 9237): what a token permits, as a list
 * of pairs. Nothing is permitted that is not listed.
 *
 *     AIF-MQTT (RFC 9431 section 3)   [["topic1", ["pub", "sub"]], ["topic2/#", ["pub"]]]
 *     AIF-REST (RFC 9237 section 2)   [["/s/temp", 1], ["/a/led", 5]]
 *
 * Both in CBOR and in JSON. Which of the two it is, the caller knows (by the audience); it is never
 * guessed. A CWT carries the CBOR as its scope, in a byte string or bare; a JWT has base64url of
 * the JSON text as its scope.
 *
 * Not here: placeholders, there are none; tenants and what the filters come to for one client
 * (lk_identity_from_claims).
 */
#ifndef LATCHKEY_AIF_H
#define LATCHKEY_AIF_H

#include <latchkey/claims.h>

enum lk_aif_kind { LK_AIF_MQTT, LK_AIF_REST };

/* Permissions of AIF-MQTT. Those of AIF-REST: bit n is the CoAP method n + 1; 32 more: Dynamic. */
#define LK_AIF_PUB 0x1
#define LK_AIF_SUB 0x2

struct lk_aif_entry {
    struct lk_span target; /* topic filter, or path */
    uint64_t permissions;
};

/** Each target once. Spans point into the input (CBOR), or into the room (JSON). */
struct lk_aif {
    enum lk_aif_kind kind;
    size_t count;
    struct lk_aif_entry entry[LK_PERMISSIONS_MAX];
};

/**
 * Read. Entries with one target become one (RFC 9237 section 2.3).
 *
 * @param format  LK_FORMAT_CWT: CBOR; LK_FORMAT_JWT: JSON text.
 * @param room    JSON: room.cap >= in.len suffices. CBOR: not looked at.
 * @return LK_OK, also for an empty list;
 *   LK_ERR_SCOPE  well-formed, but not this kind of AIF: another shape, an unknown permission word,
 *                 none at all, a filter that is not valid or that begins with `$` (also $share)
 *   LK_ERR_LIMIT  more than LK_PERMISSIONS_MAX targets
 *   or the reader's error: LK_ERR_MALFORMED and its range, LK_ERR_NO_SPACE. On error the list is
 *   zeroed.
 */
LK_MUST_CHECK enum lk_err lk_aif_read(enum lk_aif_kind kind, enum lk_format format,
                                      struct lk_span in, struct lk_buf room, struct lk_aif *aif);

/** Write, in the order of the entries. @return LK_OK, LK_ERR_NO_SPACE, LK_ERR_ARG, LK_ERR_UTF8. */
LK_MUST_CHECK enum lk_err lk_aif_write(const struct lk_aif *aif, enum lk_format format,
                                       struct lk_buf room, struct lk_span *out);

/**
 * The AIF-MQTT list in a token's scope, if it has one. The scope of a JWT is taken for AIF only if
 * it is base64url of a JSON array, or an array whose first item is no text; anything else is a list
 * of scopes. That of a CWT is AIF if it is not text.
 *
 * @param room   as for lk_aif_read; the spans of a JWT's list point into it, and what was taken
 *               comes off its front.
 * @param found  [out] whether there is one. If not, the list is empty.
 * @return as lk_aif_read.
 */
LK_MUST_CHECK enum lk_err lk_aif_from_claims(const struct lk_claims *claims, struct lk_buf *room,
                                             struct lk_aif *aif, bool *found);

#endif
