/*
 * failures.h - failed logins, counted by address, so that guessing cannot fill the log.
 *
 * It decides what is said, not who gets in: a right token gets in from any address at any time.
 */
#ifndef PLUGIN_FAILURES_H
#define PLUGIN_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

struct failures {
    struct {
        int64_t second;
        uint32_t count, quietly;
    } of[FAIL_ADDRESSES];
};

/**
 * Count a failure.
 * @param quietly  [out] how many were not said before this one.
 * @return true if it shall be said: at most `rate` a second and address.
 */
bool failures_add(struct failures *f, const char *address, int64_t now_ms, int64_t rate,
                  uint32_t *quietly);

#endif
