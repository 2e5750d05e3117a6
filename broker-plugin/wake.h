/*
 * wake.h - make the broker's loop turn now, or at a time, from another thread.
 *
 * No Mosquitto call is thread-safe, so work is queued and done in TICK; and an idle broker ticks
 * every 100 ms (2.0) or not at all (2.1). A real-time signal to the broker's thread ends its
 * epoll_wait with EINTR, and the turn ends in TICK. One that lands just before epoll_wait is lost,
 * so it is repeated until the turn has come.
 *
 * At start the signal is tried once. If it does not arrive, there is no thread and wake_ask does
 * nothing: the ordinary ticks have to do.
 */
#ifndef PLUGIN_WAKE_H
#define PLUGIN_WAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct wake {
    pthread_t main, thread;
    int signal; /* 0: plain ticks */
    int event_fd;
    atomic_bool stop;
    atomic_bool wanted;
    _Atomic int64_t due_ms; /* monotonic; INT64_MAX: nothing planned */
};

/** Called on the broker's thread. @return false: no signal, plain ticks. */
bool wake_open(struct wake *wake);
void wake_close(struct wake *wake);

/** The loop should turn now. Any thread; never blocks. */
void wake_ask(struct wake *wake);

/** The loop should turn at this time, give or take WAKE_IDLE_MS. Replaces what was said before. */
void wake_at(struct wake *wake, int64_t due_ms);

/** It has turned. Called first thing in TICK. */
void wake_done(struct wake *wake);

/** Threads of the plugin take no signals: those are for the broker. */
int wake_thread_start(pthread_t *thread, void *(*run)(void *), void *context);

#endif
