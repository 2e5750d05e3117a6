/*
 * feed_news.h - one answer of latchkeyd's feed (GET /v1/feed), read.
 *
 *     {"epoch":"..","seq":N,"full":bool,"entries":[...],"more"?:bool}
 *     {"kind":"jti"|"family"|"sub"|"kid","value":"..","gen_before":N,"until":UNIX}
 */
#ifndef PLUGIN_FEED_NEWS_H
#define PLUGIN_FEED_NEWS_H

#include <latchkey/limits.h>

#include "revocations.h"

struct feed_entry {
    uint64_t gen_before;
    int64_t until_s;
    uint8_t key[REVOCATION_KEY_LEN];
    uint8_t kind; /* enum revocation_kind */
    uint8_t subject_len;
    char subject[LK_SUBJECT_MAX]; /* of REVOCATION_SUBJECT */
};

struct feed_news {
    struct feed_news *next; /* of those that wait for the broker's thread */
    char epoch[FEED_EPOCH_MAX + 1];
    int64_t seq;
    bool full, more;
    bool ends;                            /* the last page of a full list */
    int64_t answered_s;                   /* when: by the server's clock if it says */
    char unknown_kind[FEED_KIND_MAX + 1]; /* the first that was passed over; empty: none */
    struct feed_entry *entries;
    size_t count, room;
};

/**
 * Read an answer. Strict in form; members and kinds nobody knows are passed over. So is what no
 * token can match: `family`, since tokens do not name theirs (their ids are listed as well), a
 * subject that is no id, a kid longer than any.
 *
 * @param text  lent and changed.
 * @param news  [out] give it back with feed_news_free. NULL on error.
 * @return LK_OK, LK_ERR_NOMEM, LK_ERR_LIMIT, LK_ERR_MISSING, LK_ERR_SYNTAX (an epoch that is none),
 *         or what the JSON reader says.
 */
LK_MUST_CHECK enum lk_err feed_news_read(uint8_t *text, size_t len, struct feed_news **news);

/** NULL is none. */
void feed_news_free(struct feed_news *news);

#endif
