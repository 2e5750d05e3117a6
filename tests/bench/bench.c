#include "bench.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define HAVE_CALLGRIND 1
#else
#define HAVE_CALLGRIND                  0
#define CALLGRIND_START_INSTRUMENTATION (void)0
#define CALLGRIND_ZERO_STATS            (void)0
#define CALLGRIND_DUMP_STATS_AT(name)   (void)(name)
#endif

#define ROWS_MAX   64
#define ROUNDS_MAX 99
#define WARM_UP    8

struct row {
    const char *name;
    bench_fn run;
    void *context;
    size_t turns; /* that fill a slice of time */
    double allocations;
    double ns[ROUNDS_MAX];
};

static struct row rows[ROWS_MAX];
static size_t row_count;

/* glibc's own, behind the names we put ours in front of: every allocation of the process passes
 * here, those of the crypto library too. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *ptr, size_t len);

static size_t allocations;

#define SEEN_BY_LIBRARIES __attribute__((visibility("default")))

SEEN_BY_LIBRARIES void *
malloc(size_t len)
{
    allocations++;
    return __libc_malloc(len);
}

SEEN_BY_LIBRARIES void *
calloc(size_t count, size_t len)
{
    allocations++;
    return __libc_calloc(count, len);
}

SEEN_BY_LIBRARIES void *
realloc(void *ptr, size_t len)
{
    allocations++;
    return __libc_realloc(ptr, len);
}

_Noreturn void
bench_die(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

void
bench_row(const char *name, bench_fn run, void *context)
{
    bench_need(row_count < ROWS_MAX, "too many rows");
    rows[row_count++] = (struct row){.name = name, .run = run, .context = context};
}

void
bench_fact(const char *name, const char *format, ...)
{
    va_list args;

    printf("fact\t%s\t", name);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* CPU time: what others do on the machine meanwhile does not count. */
static uint64_t
cpu_ns(void)
{
    struct timespec now;

    bench_need(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0, "no clock for CPU time");
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The loop around every operation; rows that do nothing measure it, and the script takes it off. */
static __attribute__((noinline)) void
turn_over(const struct row *row, size_t turns)
{
    bool ok = true;

    for (size_t i = 0; i < turns; i++)
        ok &= row->run(row->context, i);
    bench_need(ok, row->name);
}

static uint64_t
time_turns(const struct row *row, size_t turns)
{
    uint64_t began = cpu_ns();

    turn_over(row, turns);
    return cpu_ns() - began;
}

static void
calibrate(struct row *row, uint64_t slice_ns)
{
    size_t before;

    turn_over(row, WARM_UP);
    before = allocations;
    turn_over(row, WARM_UP);
    row->allocations = (double)(allocations - before) / WARM_UP;
    row->turns = WARM_UP;
    while (time_turns(row, row->turns) < slice_ns)
        row->turns *= 2;
}

static void
time_rows(size_t rounds, uint64_t slice_ns)
{
    for (size_t i = 0; i < row_count; i++)
        calibrate(&rows[i], slice_ns);
    for (size_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < row_count; i++)
            rows[i].ns[round] = (double)time_turns(&rows[i], rows[i].turns) / (double)rows[i].turns;
    }
    for (size_t i = 0; i < row_count; i++) {
        printf("row\t%s\t%g\t", rows[i].name, rows[i].allocations);
        for (size_t round = 0; round < rounds; round++)
            printf("%s%.2f", round > 0 ? " " : "", rows[i].ns[round]);
        putchar('\n');
    }
}

static void
count_rows(size_t turns)
{
    bench_need(HAVE_CALLGRIND, "built without valgrind/callgrind.h");
    CALLGRIND_START_INSTRUMENTATION;
    for (size_t i = 0; i < row_count; i++) {
        turn_over(&rows[i], WARM_UP);
        CALLGRIND_ZERO_STATS;
        turn_over(&rows[i], turns);
        CALLGRIND_DUMP_STATS_AT(rows[i].name);
    }
}

static size_t
option(int argc, char **argv, const char *name, size_t if_absent)
{
    for (int i = 1; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            return (size_t)strtoul(argv[i + 1], NULL, 10);
    return if_absent;
}

int
bench_main(int argc, char **argv)
{
    size_t turns = option(argc, argv, "--turns", 0);
    size_t rounds = option(argc, argv, "--rounds", 11);

    bench_need(rounds >= 1 && rounds <= ROUNDS_MAX, "1 to 99 rounds");
    if (turns > 0)
        count_rows(turns);
    else
        time_rows(rounds, option(argc, argv, "--slice-us", 10000) * 1000u);
    return 0;
}
