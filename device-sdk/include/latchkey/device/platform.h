/*
 * latchkey/device/platform.h - what a platform gives the SDK: a byte transport, randomness, time.
 *
 * Rules for all of it: nothing blocks. A call that cannot go on returns LK_ERR_BUSY at once and is
 * made again later. Function tables are copied; what `ctx` points to is borrowed.
 * Time is not a table: every step takes `now_ms`, milliseconds of a clock that never goes back and
 * keeps counting while the device sleeps. Where it starts does not matter.
 */
#ifndef LATCHKEY_DEVICE_PLATFORM_H
#define LATCHKEY_DEVICE_PLATFORM_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#define LK_WANT_READ  0x01u /* call again when bytes can be read */
#define LK_WANT_WRITE 0x02u /* call again when bytes can be written */

/** A time that never comes: nothing to wait for but the transport. */
#define LK_NEVER_MS UINT64_MAX

/**
 * A connection to one fixed place. Which place, and TLS or not, is the transport's business; the
 * SDK only opens it, uses it, closes it, and opens it again.
 *
 * Errors: LK_ERR_BUSY nothing now; LK_ERR_CLOSED the other side ended it in order; any other number
 * is kept and shown (LK_ERR_IO, LK_ERR_UNAVAILABLE, LK_ERR_CRYPTO, LK_ERR_CREDENTIAL for a server
 * certificate that is not to be trusted). After an error the SDK calls close().
 */
struct lk_transport {
    /** Connect, or go on connecting. LK_OK once bytes can flow; LK_ERR_BUSY meanwhile. */
    enum lk_err (*open)(void *ctx);
    /** Read at most room.cap bytes, at least one; *len is 0 unless LK_OK. */
    enum lk_err (*read)(void *ctx, struct lk_buf room, size_t *len);
    /** Write some of the bytes, at least one; *len is 0 unless LK_OK. After LK_ERR_BUSY the next
     * call brings the same bytes again, perhaps with more behind them. */
    enum lk_err (*write)(void *ctx, struct lk_span bytes, size_t *len);
    /** End it now. Safe in every state, also twice. */
    void (*close)(void *ctx);
    /** What the last LK_ERR_BUSY waits for: LK_WANT_ bits, 0 for a short pause. May be NULL: then
     * LK_WANT_READ is assumed for open and read, LK_WANT_WRITE for write. */
    unsigned (*wants)(void *ctx);
    void *ctx;
};

/** Random bytes, good enough for TLS; the SDK itself uses them only to spread pauses. */
struct lk_random {
    enum lk_err (*fill)(void *ctx, struct lk_buf room);
    void *ctx;
};

#endif
