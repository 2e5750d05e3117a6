/*
 * random.h - numbers for property tests: the same ones in every run (xorshift64).
 */
#ifndef LK_TESTS_RANDOM_H
#define LK_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static uint64_t random_state = UINT64_C(0x9e3779b97f4a7c15);

/* Below `end`, which is not 0. */
static inline size_t
random_below(size_t end)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)((random_state >> 16) % end);
}

#endif
