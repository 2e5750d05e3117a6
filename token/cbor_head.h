/*
 * cbor_head.h - write the head of an item whose content is elsewhere; private to the token library.
 */
#ifndef LK_CBOR_HEAD_H
#define LK_CBOR_HEAD_H

#include <latchkey/cbor.h>

#define LK_CBOR_HEAD_MAX 9 /* bytes: the initial byte and an argument of eight */

void lk_cbor_write_head(struct lk_cbor_out *w, enum lk_cbor_type major, uint64_t value);

#endif
