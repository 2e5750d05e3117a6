/*
 * guard_span.h - guard.h for spans.
 */
#ifndef LK_TESTS_GUARD_SPAN_H
#define LK_TESTS_GUARD_SPAN_H

#include <latchkey/bytes.h>

#include "guard.h"

/* A copy that ends at the unreadable page; the last one is overwritten. */
static inline struct lk_span
guard_place(const struct guard *g, struct lk_span bytes)
{
    return lk_span_of(guard_put(g, bytes.ptr, bytes.len), bytes.len);
}

#endif
