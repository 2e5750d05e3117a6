/*
 * expiry.h - a heap of the sessions that will have to leave, earliest first.
 *
 * Room for every session is taken at start, so that nothing here can fail.
 */
#ifndef PLUGIN_EXPIRY_H
#define PLUGIN_EXPIRY_H

#include "sessions.h"

struct expiry {
    struct session **heap;
    size_t count, count_max;
};

LK_MUST_CHECK enum lk_err expiry_open(struct expiry *e, size_t count_max);
void expiry_close(struct expiry *e);

/** Set when a session is due; moves it if it is in the heap already. */
void expiry_set(struct expiry *e, struct session *s, int64_t due_ms);

/** Take it out; nothing happens if it is not in. */
void expiry_remove(struct expiry *e, struct session *s);

/** The earliest, or NULL. It stays in. */
struct session *expiry_first(const struct expiry *e);

#endif
