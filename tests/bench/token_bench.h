/* token_bench.h - the parts of the bench of token/, each of which adds its rows. */
#ifndef LATCHKEY_TOKEN_BENCH_H
#define LATCHKEY_TOKEN_BENCH_H

#include <latchkey/grant.h>

/** Parsing and verifying tokens; sizes of tokens. */
void token_rows(void);

/** Deciding about topics; sizes of grants. */
void topic_rows(void);

/** Denies, at once. What is around it is what is around lk_grant_check, and is taken off. */
struct lk_verdict deny_at_once(const struct lk_grant *grant, const struct lk_request *request);

#endif
