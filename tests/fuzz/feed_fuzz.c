/* An answer of the feed: what is read has only what the rest of the plugin relies on. */
#include "fuzz.h"

#include <latchkey/id.h>

#include "feed_news.h"

static void
look_at(const struct feed_entry *e)
{
    uint8_t key[REVOCATION_KEY_LEN];
    struct lk_span subject = lk_span_of(e->subject, e->subject_len);

    PROMISE(e->kind > REVOCATION_NONE && e->kind < REVOCATION_KINDS);
    PROMISE(e->until_s >= 0);
    if (e->kind != REVOCATION_SUBJECT)
        return;
    PROMISE(lk_id_is_valid(subject));
    PROMISE(revocation_subject_key(subject, key) == LK_OK);
    PROMISE(memcmp(key, e->key, sizeof(key)) == 0);
}

static void
apply(const struct feed_news *news)
{
    struct revocations set;
    size_t kept = 0;

    PROMISE(revocations_open(&set, 16) == LK_OK);
    if (news->full)
        revocations_begin(&set);
    for (size_t i = 0; i < news->count; i++) {
        const struct feed_entry *e = &news->entries[i];

        kept += revocations_put(&set, (enum revocation_kind)e->kind, e->key, e->gen_before,
                                e->until_s, 1000);
    }
    revocations_end(&set);
    PROMISE(set.live <= 16 && set.live <= kept);
    PROMISE(kept == news->count || revocations_are_too_many(&set, 1000));
    (void)revocations_sweep(&set, INT64_MAX, SIZE_MAX);
    PROMISE(set.live == 0 && !revocations_are_too_many(&set, 1000));
    revocations_close(&set);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *text = malloc(size > 0 ? size : 1);
    struct feed_news *news;
    enum lk_err err;

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    err = feed_news_read(text, size, &news);
    PROMISE((err == LK_OK) == (news != NULL));
    if (news != NULL) {
        size_t epoch = strlen(news->epoch);

        PROMISE(epoch > 0 && epoch <= FEED_EPOCH_MAX && news->seq >= 0);
        PROMISE(strspn(news->epoch, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                    "0123456789-._~") == epoch);
        for (size_t i = 0; i < news->count; i++)
            look_at(&news->entries[i]);
        apply(news);
    }
    feed_news_free(news);
    free(text);
    return 0;
}
