/*
 * crypto_fake.h - steer the crypto port for tests.
 *
 * It computes nothing secret: the same input gives the same output on every run, "signatures" are
 * sums anyone can make. What it is for: to let any call fail, and see what the caller does.
 */
#ifndef LK_TESTS_CRYPTO_FAKE_H
#define LK_TESTS_CRYPTO_FAKE_H

/* Let the n-th call from now on fail, counted from 1; 0: none. Counting starts anew. */
void crypto_fake_fail_at(unsigned n);

/* Calls since then. */
unsigned crypto_fake_calls(void);

/* Keys that are open now: what lk_key_open gave and lk_key_wipe has not taken back. */
int crypto_fake_open_keys(void);

#endif
