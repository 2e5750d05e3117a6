/*
 * failures.h - failed logins by address.
 *
 * An address beyond its rate is not locked out: a right token is always verified and taken. It only
 * has to pass the cheap checks first, before a signature is worked out for it (auth.c).
 */
#ifndef PLUGIN_FAILURES_H
#define PLUGIN_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

struct failures {
    struct {
        uint32_t hash;
        uint32_t count;
        int64_t since_ms; /* begin of the second that is counted */
        bool before;      /* the second before it was beyond the rate */
    } places[FAIL_ADDRESSES];
};

/** Count a failure. @return true when the address has just gone beyond its rate. */
bool failures_add(struct failures *f, const char *address, int64_t per_second, int64_t now_ms);

/** Is the address beyond its rate? */
bool failures_are_many(const struct failures *f, const char *address, int64_t per_second,
                       int64_t now_ms);

/** The same, or was it in the second before? For the budget of signatures, where a flood must not
 * begin anew, with a clean record, every second. */
bool failures_are_a_flood(const struct failures *f, const char *address, int64_t per_second,
                          int64_t now_ms);

#endif
