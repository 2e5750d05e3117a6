/*
 * bench.h - rows of a bench: each is one operation, run many times over.
 *
 * The program prints lines with tabs between, for a script to make a table of:
 *
 *     row   NAME  ALLOCATIONS  NS NS NS ...      an operation: mean ns of each round
 *     fact  NAME  TEXT                           something that is counted, not timed
 *
 * Rounds go over all rows in turn, so that a noisy neighbour hits all of them alike.
 */
#ifndef LATCHKEY_BENCH_H
#define LATCHKEY_BENCH_H

#include <stdbool.h>
#include <stddef.h>

/** One turn of an operation. @return false if its result was not the right one. */
typedef bool (*bench_fn)(void *context, size_t turn);

/** Add a row. `name` and `context` are borrowed for good. */
void bench_row(const char *name, bench_fn run, void *context);

/** Print a fact. */
void bench_fact(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** End the program with the name of what went wrong. */
_Noreturn void bench_die(const char *what);

static inline void
bench_need(bool ok, const char *what)
{
    if (!ok)
        bench_die(what);
}

/**
 * Run all rows.
 *
 *     --rounds N --slice-us N    time them
 *     --turns N                  no clock: N turns of each, each dumped by name to callgrind
 *
 * @return what main() returns.
 */
int bench_main(int argc, char **argv);

#endif
