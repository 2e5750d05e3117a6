/* The bench of token/; tests/bench/token builds it, runs it and makes its table. */
#include "bench.h"
#include "token_bench.h"

static bool
empty(void *context, size_t turn)
{
    (void)context;
    (void)turn;
    return true;
}

int
main(int argc, char **argv)
{
    bench_row("empty", empty, NULL);
    token_rows();
    topic_rows();
    return bench_main(argc, argv);
}
