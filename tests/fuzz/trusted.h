/*
 * trusted.h - what the token targets share: a verifier whose keys the target can sign with, so that
 * a mutated token gets behind the check of its signature; and what must hold for every token read.
 */
#ifndef LK_TESTS_FUZZ_TRUSTED_H
#define LK_TESTS_FUZZ_TRUSTED_H

#include <latchkey/token.h>

#define TRUSTED_NOW_S 1000000

/** Audience "mqtt", issuers "https://as" (ours) and "https://other", each with the same keys. */
const struct lk_verifier *trusted_verifier(void);

/** The key for an algorithm; NULL for none or RS256. Kids: "es", "ed", "hs", "h64". */
const struct lk_key *trusted_key(enum lk_alg alg);

/** Does the span lie in the room, or is it absent? */
bool lies_in(struct lk_span span, struct lk_span room);

/** Whatever points into the token lies in its bytes or in the scratch it was read with. */
void token_lies_in(const struct lk_token *token, struct lk_span bytes, struct lk_span scratch);

/** What was read can be written in either format, and is the same when it is read again. */
void claims_write_back(const struct lk_claims *claims);

/** A token that was accepted: what the verifier promises about it, and nothing changed passes. */
void accepted_holds(struct lk_span text, const struct lk_token *token);

#endif
