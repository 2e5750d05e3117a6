/*
 * cmocka_all.h - cmocka with the headers it wants before it.
 */
#ifndef LK_TESTS_CMOCKA_ALL_H
#define LK_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <latchkey/err.h>

/* Compare errors by name, so that a failure can be read, and say which row it was. */
#define assert_err(row, got, wanted)                                                               \
    do {                                                                                           \
        enum lk_err got_ = (got), wanted_ = (wanted);                                              \
        if (got_ != wanted_)                                                                       \
            fail_msg("%s: got %s, wanted %s", (row), lk_err_name(got_), lk_err_name(wanted_));     \
    } while (0)

#endif
