/*
 * crypto_calls.h - stands between the OpenSSL port and OpenSSL, and lets calls fail.
 *
 * The linker leads every call listed in crypto_calls.c here first (--wrap).
 */
#ifndef LK_TESTS_CRYPTO_CALLS_H
#define LK_TESTS_CRYPTO_CALLS_H

#include <stdbool.h>

/* Asked before every call; NULL: none fails. */
extern bool (*crypto_call_fails)(void);

/* EVP_PKEY_verify says "failed" each time, whatever else fails or does not. */
extern bool crypto_verify_breaks;

/* Run once in the middle of the next fetch of an algorithm, as another thread would. NULL: nothing.
 */
extern void (*crypto_fetch_meanwhile)(void);

#endif
