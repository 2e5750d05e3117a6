/*
 * provisioning/registry/common.h - what devices and clients have in common: ids, secrets, cursors.
 */
#ifndef PROVISIONING_REGISTRY_H
#define PROVISIONING_REGISTRY_H

#include <latchkey/crypto.h>

#include "../http/router.h"
#include "../keys/seal.h"

/** `<prefix>-<16 random characters>`. */
LK_MUST_CHECK enum lk_err id_generate(const char *prefix, char out[LK_SUBJECT_MAX + 1]);

/** The "id" member: taken, checked, or generated. Refusals go into `take`. */
LK_MUST_CHECK enum lk_err id_take(struct json_take *take, const char *prefix,
                                  char out[LK_SUBJECT_MAX + 1]);

struct secret {
    char text[SECRET_TEXT_LEN + 1];
    uint8_t hash[LK_SHA256_LEN]; /* of the text */
    uint8_t bytes[SECRET_LEN];
};

LK_MUST_CHECK enum lk_err secret_generate(struct secret *secret);
/** From a text somebody else made; LK_ERR_BASE64 if it is not 43 characters for 32 bytes. */
LK_MUST_CHECK enum lk_err secret_from(struct lk_span text, struct secret *secret);

/** The DTLS key of a device (contracts section 3), sealed. */
LK_MUST_CHECK enum lk_err secret_psk(const struct seal *seal, const struct secret *secret,
                                     struct lk_span id, struct lk_buf room, struct lk_span *sealed);

#define PSK_SEALED_MAX (32 + LK_SEAL_OVERHEAD)

/** `overlap_s` of a body that replaces a secret: until when the old one works; 0: not at all.
 * false: a problem was sent. */
LK_MUST_CHECK bool overlap_take(struct http_call *call, int64_t *old_until_s);
/** {secret, old_valid_until} */
json_t *secret_json(const struct secret *secret, int64_t old_until_s, int64_t now_s);

/** A cursor stands for the last id of a page and is opaque to clients. */
LK_MUST_CHECK enum lk_err cursor_write(struct lk_span id, char out[LIST_CURSOR_MAX]);
LK_MUST_CHECK enum lk_err cursor_read(struct lk_span cursor, struct lk_buf room,
                                      struct lk_span *id);

/** `limit` and `cursor` of the query; false: a problem was sent. `after` points into `room`. */
LK_MUST_CHECK bool page_take(struct http_call *call, struct lk_buf room, unsigned *limit,
                             struct lk_span *after);
/** {items, next_cursor}. One item more than `limit` may be there: then there is a next page. Each
 * must have an "id". Takes `items` over. */
void page_answer(struct http_call *call, json_t *items, unsigned limit);

/** Scopes as a JSON array. */
json_t *scopes_json(const char *scopes);

/** Location of what was made, for a 201. */
void location_put(struct http_call *call, const char *folder, const char *id);

void text_of(char *out, size_t size, struct lk_span text);
const char *state_name(enum store_state state);

#endif
