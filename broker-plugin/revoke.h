/*
 * revoke.h - revocation on the broker's thread: who is refused, whose connection ends. What is
 * revoked comes from the feed's thread (feed.h) and, at start, from its file.
 *
 * An entry acts in one step on the set that logins are checked against and on the sessions it
 * concerns: they may do nothing from that moment on, and TICK ends the connections, without will.
 * Work is cut into slices. Who logs in before an entry's turn has come is found when it comes.
 */
#ifndef PLUGIN_REVOKE_H
#define PLUGIN_REVOKE_H

#include <latchkey/token.h>

#include "feed.h"
#include "sessions.h"

struct plugin;

struct revoke {
    bool on; /* there is a feed */
    struct revocations set;
    struct feed feed;

    struct feed_news *first, *last; /* not worked off yet */
    size_t applied;                 /* entries of the first */
    bool walking, sweeping;
    struct session_cursor cursor; /* of the walk for sessions of a revoked key */
    int64_t server_now_s;         /* the feed's last answer, by the server's clock */
    int64_t heard_s;              /* the same by ours; 0: never. For metrics */
    int64_t fresh_ms;             /* the same, monotonic */
    bool heard;                   /* fresh_ms means something */
    bool keys_gone, told_full;
};

/** Read the file and start the thread, if there is a feed. Keys and sessions are there already. */
bool revoke_open(struct plugin *p);
void revoke_close(struct plugin *p);

/** The options were read again. */
void revoke_reload(struct plugin *p);

/** Take what the feed's thread sent; the news are taken out of the note. */
void revoke_take(struct plugin *p, struct note *note);

/** One slice of work. */
void revoke_some(struct plugin *p, int64_t now_ms);
bool revoke_is_busy(const struct plugin *p);

/** Take revoked keys out of the set: after every change of the keys. */
void revoke_keys(struct plugin *p);

/** @return LK_OK, LK_ERR_REVOKED; LK_ERR_UNAVAILABLE beyond max_feed_age; LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err revoke_check(const struct plugin *p, const struct lk_claims *claims,
                                       int64_t now_ms);
/** Is the key of this name revoked? An absent name is not. */
bool revoke_has_kid(const struct plugin *p, struct lk_span kid);

#endif
