#include "watch.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "limits.h"

int64_t
watch_now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t
first_number(const char *path, int skip)
{
    FILE *file = fopen(path, "r");
    int64_t number = -1;

    if (file == NULL)
        return -1;
    for (int i = 0; i <= skip; i++)
        if (fscanf(file, "%" SCNd64, &number) != 1)
            number = -1;
    (void)fclose(file);
    return number;
}

int64_t
watch_cpu_ns(pid_t pid)
{
    char path[512];
    const struct dirent *entry;
    int64_t sum = 0, ns;
    DIR *tasks;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    tasks = opendir(path);
    if (tasks == NULL)
        return -1;
    while ((entry = readdir(tasks)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%d/task/%.20s/schedstat", (int)pid,
                       entry->d_name);
        ns = first_number(path, 0);
        sum += ns > 0 ? ns : 0;
    }
    (void)closedir(tasks);
    return sum;
}

int64_t
watch_resident(pid_t pid)
{
    char path[64];
    int64_t pages;

    (void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    pages = first_number(path, 1);
    return pages < 0 ? -1 : pages * sysconf(_SC_PAGESIZE);
}

void
samples_put(struct samples *samples, int64_t us)
{
    uint32_t *more;

    if (samples->count == samples->cap && samples->cap < SAMPLES_MAX) {
        size_t cap = samples->cap == 0 ? 1024 : samples->cap * 2;

        more = reallocarray(samples->us, cap, sizeof(*more));
        if (more == NULL)
            return;
        samples->us = more;
        samples->cap = cap;
    }
    if (samples->count < samples->cap)
        samples->us[samples->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int
compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

uint32_t
samples_at(struct samples *samples, double share)
{
    size_t at = (size_t)((double)samples->count * share);

    if (samples->count == 0)
        return 0;
    qsort(samples->us, samples->count, sizeof(*samples->us), compare);
    return samples->us[at < samples->count ? at : samples->count - 1];
}

void
samples_free(struct samples *samples)
{
    free(samples->us);
    *samples = (struct samples){NULL, 0, 0};
}
