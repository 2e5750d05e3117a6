/*
 * items.h - one reader over CBOR and JSON, for what a claim may carry in either. Inside token/
 * only.
 *
 * As in cbor.h and json.h the first error sticks and later calls give empty values. An item that is
 * well-formed, but another one than was asked for, is LK_ERR_SCOPE: all that is read with this says
 * what a token permits.
 */
#ifndef LK_ITEMS_H
#define LK_ITEMS_H

#include <latchkey/cbor.h>
#include <latchkey/claims.h>
#include <latchkey/json.h>

enum lk_item {
    LK_ITEM_TEXT,
    LK_ITEM_NUMBER,
    LK_ITEM_BOOL,
    LK_ITEM_ARRAY,
    LK_ITEM_MAP,
    LK_ITEM_OTHER
};

struct lk_items {
    enum lk_format format; /* LK_FORMAT_CWT: cbor; LK_FORMAT_JWT: json */
    struct lk_cbor cbor;
    struct lk_json json;
};

/**
 * @param in    CBOR or JSON text, as `format` says.
 * @param room  for JSON, which is copied into it to be unescaped; too small: LK_ERR_NO_SPACE. What
 *              was taken comes off its front.
 */
void lk_items_open(struct lk_items *r, enum lk_format format, struct lk_span in,
                   struct lk_buf *room);
/** JSON text that is lent, and changed. */
void lk_items_open_json(struct lk_items *r, struct lk_buf text);
LK_MUST_CHECK enum lk_err lk_items_close(struct lk_items *r);

enum lk_err lk_items_error(const struct lk_items *r);
void lk_items_fail(struct lk_items *r, enum lk_err err); /* unless there is an error already */

enum lk_item lk_items_peek(struct lk_items *r);
struct lk_span lk_items_text(struct lk_items *r);
uint64_t lk_items_number(struct lk_items *r); /* a whole number that is not negative */
bool lk_items_bool(struct lk_items *r);

/* while (lk_items_next(&r)) reads each item of the array, which it leaves at the end. */
void lk_items_enter_array(struct lk_items *r);
bool lk_items_next(struct lk_items *r);

/* while (lk_items_next_member(&r, &name)) reads each value; names that are no text: LK_ERR_SCOPE.
 */
void lk_items_enter_map(struct lk_items *r);
bool lk_items_next_member(struct lk_items *r, struct lk_span *name);

/** Is the first item of a JSON array, which is well-formed, a text? Then it is a list of scopes, as
 * some issuers write it, and not AIF. */
bool lk_json_is_array_of_texts(struct lk_span value);

#endif
