/*
 * provisioning/oauth/guess.h - failures of credentials, per client id and address.
 *
 * Only failures are slowed: a right secret is looked at first and always passes, so nobody can lock
 * a device out by guessing at its id.
 */
#ifndef PROVISIONING_GUESS_H
#define PROVISIONING_GUESS_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

struct guess;

LK_MUST_CHECK enum lk_err guess_new(struct guess **out);
void guess_free(struct guess *guess);

/** A failure. @return seconds to wait before the next try; 0 for the first `free` ones. */
unsigned guess_failed(struct guess *guess, struct lk_span id, const char *from, unsigned free,
                      int64_t now_s);

/** The right secret: what was counted is forgotten. */
void guess_passed(struct guess *guess, struct lk_span id, const char *from);

#endif
