#include "expiry.h"

#include "compat.h"

enum lk_err
expiry_open(struct expiry *e, size_t count_max)
{
    e->count = 0;
    e->count_max = count_max;
    e->heap = mosquitto_calloc(count_max, sizeof(struct session *));
    return e->heap != NULL ? LK_OK : LK_ERR_NOMEM;
}

void
expiry_close(struct expiry *e)
{
    mosquitto_free(e->heap);
    *e = (struct expiry){0};
}

static void
put(struct expiry *e, size_t at, struct session *s)
{
    e->heap[at] = s;
    s->heap_at = (uint32_t)at + 1;
}

static void
rise(struct expiry *e, size_t at)
{
    struct session *s = e->heap[at];

    while (at > 0 && e->heap[(at - 1) / 2]->due_ms > s->due_ms) {
        put(e, at, e->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(e, at, s);
}

static void
sink(struct expiry *e, size_t at)
{
    struct session *s = e->heap[at];
    size_t child;

    while ((child = 2 * at + 1) < e->count) {
        if (child + 1 < e->count && e->heap[child + 1]->due_ms < e->heap[child]->due_ms)
            child++;
        if (e->heap[child]->due_ms >= s->due_ms)
            break;
        put(e, at, e->heap[child]);
        at = child;
    }
    put(e, at, s);
}

void
expiry_set(struct expiry *e, struct session *s, int64_t due_ms)
{
    s->due_ms = due_ms;
    if (s->heap_at == 0) {
        if (e->count == e->count_max)
            return; /* the table of sessions is no larger: cannot be */
        put(e, e->count++, s);
    }
    rise(e, s->heap_at - 1);
    sink(e, s->heap_at - 1);
}

void
expiry_remove(struct expiry *e, struct session *s)
{
    size_t at = s->heap_at;
    struct session *last;

    if (at == 0)
        return;
    at--;
    s->heap_at = 0;
    last = e->heap[--e->count];
    e->heap[e->count] = NULL;
    if (last == s)
        return;
    put(e, at, last);
    rise(e, at);
    sink(e, last->heap_at - 1);
}

struct session *
expiry_first(const struct expiry *e)
{
    return e->count > 0 ? e->heap[0] : NULL;
}
