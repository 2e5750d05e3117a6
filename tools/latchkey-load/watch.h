/*
 * watch.h - what a process costs: CPU time of all its threads, resident memory; and latencies.
 */
#ifndef LATCHKEY_LOAD_WATCH_H
#define LATCHKEY_LOAD_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

int64_t watch_now_us(void); /* monotonic */

/** Nanoseconds on a CPU so far (/proc/PID/task/TID/schedstat). -1: no such process. */
int64_t watch_cpu_ns(pid_t pid);

/** Resident bytes (/proc/PID/statm). -1: no such process. */
int64_t watch_resident(pid_t pid);

struct samples {
    uint32_t *us;
    size_t count, cap;
};

void samples_put(struct samples *samples, int64_t us);

/** Sorts. @param share  0.99 for the 99th percentile. @return 0 without samples. */
uint32_t samples_at(struct samples *samples, double share);
void samples_free(struct samples *samples);

#endif
