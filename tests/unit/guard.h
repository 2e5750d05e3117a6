/*
 * guard.h - put bytes right before a page that cannot be read, so that one byte too far is a crash
 * and not luck.
 */
#ifndef LK_TESTS_GUARD_H
#define LK_TESTS_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sys/mman.h>
#include <unistd.h>

struct guard {
    uint8_t *base;
    size_t size; /* readable bytes before the page that is not */
};

static inline struct guard
guard_open(size_t cap)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guard g;
    void *base;

    g.size = (cap / page + 1) * page;
    base = mmap(NULL, g.size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || mprotect((uint8_t *)base + g.size, page, PROT_NONE) != 0)
        abort();
    g.base = base;
    return g;
}

/* Room of exactly this many bytes, ending at the page. */
static inline uint8_t *
guard_room(const struct guard *g, size_t len)
{
    if (len > g->size)
        abort();
    return g->base + g->size - len;
}

/* The bytes, ending at the page. */
static inline uint8_t *
guard_put(const struct guard *g, const void *bytes, size_t len)
{
    uint8_t *at = guard_room(g, len);

    if (len > 0)
        memmove(at, bytes, len);
    return at;
}

static inline void
guard_close(struct guard *g)
{
    munmap(g->base, g->size + (size_t)sysconf(_SC_PAGESIZE));
    g->base = NULL;
}

#endif
