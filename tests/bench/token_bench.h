/* token_bench.h - the parts of the bench of token/, each of which adds its rows. */
#ifndef LATCHKEY_TOKEN_BENCH_H
#define LATCHKEY_TOKEN_BENCH_H

/** Parsing and verifying tokens; sizes of tokens. */
void token_rows(void);

/** Deciding about topics; sizes of grants. */
void topic_rows(void);

#endif
