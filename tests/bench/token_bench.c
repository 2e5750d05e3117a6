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

/* In this file and not beside its user, who would see through it. */
struct lk_verdict
deny_at_once(const struct lk_grant *grant, const struct lk_request *request)
{
    (void)grant;
    (void)request;
    return (struct lk_verdict){.access = LK_ACCESS_DENY};
}

int
main(int argc, char **argv)
{
    bench_row("empty", empty, NULL);
    token_rows();
    topic_rows();
    return bench_main(argc, argv);
}
