/*
 * latchkey/base64url.h - RFC 4648 section 5, without padding, canonical only.
 */
#ifndef LATCHKEY_BASE64URL_H
#define LATCHKEY_BASE64URL_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

/** Characters that encode `len` bytes. */
#define LK_BASE64URL_LEN(len) (((len)*4 + 2) / 3)

/**
 * Decode. Padding, white space, other alphabets and non-zero trailing bits are refused: a text has
 * exactly one decoding and a value exactly one text.
 *
 * @param out  [out] points into `room`; room.cap >= text.len * 3 / 4 suffices. In-place decoding
 *             (room.ptr == text.ptr) is allowed.
 * @return LK_OK, LK_ERR_BASE64, LK_ERR_NO_SPACE.
 */
LK_MUST_CHECK enum lk_err lk_base64url_decode(struct lk_span text, struct lk_buf room,
                                              struct lk_span *out);

/** Encode; no terminator is written. @return LK_OK, LK_ERR_NO_SPACE. */
LK_MUST_CHECK enum lk_err lk_base64url_encode(struct lk_span bytes, struct lk_buf room,
                                              struct lk_span *out);

#endif
