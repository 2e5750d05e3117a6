/*
 * cbor_head.h - write the head of an item whose content is elsewhere; private to the token library.
 */
#ifndef LK_CBOR_HEAD_H
#define LK_CBOR_HEAD_H

#include <latchkey/cbor.h>

#define LK_CBOR_HEAD_MAX 9 /* bytes: the initial byte and an argument of eight */

/** Bytes of the shortest head (RFC 8949 section 4.2.1). */
static inline size_t
lk_cbor_head_len(uint64_t value)
{
    if (value < 24)
        return 1;
    if (value <= UINT16_MAX)
        return value <= UINT8_MAX ? 2 : 3;
    return value <= UINT32_MAX ? 5 : 9;
}

/** Write that head. @return its length, at most LK_CBOR_HEAD_MAX. */
size_t lk_cbor_head_put(uint8_t *room, enum lk_cbor_type major, uint64_t value);

void lk_cbor_write_head(struct lk_cbor_out *w, enum lk_cbor_type major, uint64_t value);

#endif
