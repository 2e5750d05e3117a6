/*
 * cose_parts.h - what a COSE message signs, and its one strict form; private to the token library.
 */
#ifndef LK_COSE_PARTS_H
#define LK_COSE_PARTS_H

#include <latchkey/cose.h>
#include <latchkey/crypto.h>

#define LK_COSE_HEADS    3
#define LK_COSE_HEAD_MAX 24 /* bytes: array, context string of 10, head of a byte string */

/**
 * The Sig_structure or MAC_structure (RFC 9052 sections 4.4, 6.3) as spans: heads are encoded into
 * `heads`, the long pieces stay where they are.
 * @param parts  room for LK_PARTS_MAX; without external_aad there are four.
 */
size_t lk_cose_parts(const struct lk_cose *message, struct lk_span external_aad,
                     uint8_t heads[LK_COSE_HEADS][LK_COSE_HEAD_MAX], struct lk_span *parts);

/**
 * Read a message that is, byte by byte, what lk_cose_write_cwt would write.
 * @return false, with `out` zeroed, for any other: lk_cose_parse() says whether it is a message.
 */
bool lk_cose_parse_own(struct lk_span bytes, struct lk_cose *out);

#endif
