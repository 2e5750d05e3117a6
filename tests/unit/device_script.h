/*
 * device_script.h - a transport that does what the test says, and chance that can be held still.
 */
#ifndef LK_TESTS_DEVICE_SCRIPT_H
#define LK_TESTS_DEVICE_SCRIPT_H

#include <string.h>

#include <latchkey/device/platform.h>

#include "cmocka_all.h"

struct script {
    enum lk_err open_err;  /* what open() answers in the end */
    unsigned open_busy;    /* how often it is busy before */
    enum lk_err end;       /* what read() says when nothing is left: BUSY, CLOSED, IO */
    enum lk_err write_err; /* LK_OK, or what write() says */
    size_t piece;          /* bytes a call moves at most; 0: all */
    unsigned opens, closes, busy_left;
    bool is_open;
    uint8_t in[4096], sent[8192];
    size_t in_len, in_at, sent_len;
};

static enum lk_err
script_open(void *ctx)
{
    struct script *s = ctx;

    if (!s->is_open) {
        s->is_open = true;
        s->opens++;
        s->busy_left = s->open_busy;
    }
    if (s->busy_left > 0) {
        s->busy_left--;
        return LK_ERR_BUSY;
    }
    return s->open_err;
}

static enum lk_err
script_read(void *ctx, struct lk_buf room, size_t *len)
{
    struct script *s = ctx;
    size_t left = s->in_len - s->in_at;

    *len = 0;
    assert_true(s->is_open && room.cap > 0);
    if (left == 0)
        return s->end;
    if (left > room.cap)
        left = room.cap;
    if (s->piece > 0 && left > s->piece)
        left = s->piece;
    memcpy(room.ptr, s->in + s->in_at, left);
    s->in_at += left;
    *len = left;
    return LK_OK;
}

static enum lk_err
script_write(void *ctx, struct lk_span bytes, size_t *len)
{
    struct script *s = ctx;
    size_t left = bytes.len;

    *len = 0;
    assert_true(s->is_open && bytes.len > 0);
    if (s->write_err != LK_OK)
        return s->write_err;
    if (s->piece > 0 && left > s->piece)
        left = s->piece;
    assert_true(left <= sizeof(s->sent) - s->sent_len);
    memcpy(s->sent + s->sent_len, bytes.ptr, left);
    s->sent_len += left;
    *len = left;
    return LK_OK;
}

static void
script_close(void *ctx)
{
    struct script *s = ctx;

    s->closes += s->is_open ? 1 : 0;
    s->is_open = false;
    s->in_len = s->in_at = 0; /* what the other side said is lost */
}

static inline struct lk_transport
script_transport(struct script *s)
{
    return (struct lk_transport){.open = script_open,
                                 .read = script_read,
                                 .write = script_write,
                                 .close = script_close,
                                 .ctx = s};
}

static inline void
script_say(struct script *s, struct lk_span bytes)
{
    if (s->in_at == s->in_len)
        s->in_at = s->in_len = 0;
    assert_true(bytes.len <= sizeof(s->in) - s->in_len);
    memcpy(s->in + s->in_len, bytes.ptr, bytes.len);
    s->in_len += bytes.len;
}

struct chance {
    uint32_t bits; /* every answer */
    bool runs;     /* instead: a sequence */
    enum lk_err err;
};

static enum lk_err
chance_fill(void *ctx, struct lk_buf room)
{
    struct chance *c = ctx;

    if (c->runs)
        c->bits = c->bits * 1664525u + 1013904223u;
    assert_int_equal(room.cap, sizeof(c->bits));
    memcpy(room.ptr, &c->bits, sizeof(c->bits));
    return c->err;
}

static inline struct lk_random
chance_random(struct chance *c)
{
    return (struct lk_random){.fill = chance_fill, .ctx = c};
}

#endif
