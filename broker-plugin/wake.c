#include "wake.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <latchkey/host/clock.h>

#include "limits.h"

static volatile sig_atomic_t arrived; /* the one global: a signal handler has no other way */

static void
on_signal(int number)
{
    (void)number;
    arrived = 1;
}

int
wake_thread_start(pthread_t *thread, void *(*run)(void *), void *context)
{
    sigset_t all, before;
    int rc;

    (void)sigfillset(&all);
    rc = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc != 0)
        return rc;
    rc = pthread_create(thread, NULL, run, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

/* A real-time signal nobody uses. 2.1 rotates its log on SIGRTMIN itself. */
static int
free_signal(void)
{
    struct sigaction now;

    for (int n = SIGRTMIN + 1; n <= SIGRTMAX; n++)
        if (sigaction(n, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 &&
            (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN))
            return n;
    return 0;
}

/* Sent to the calling thread it is there when pthread_kill returns, unless it is blocked. */
static bool
signal_arrives(int number)
{
    struct sigaction action = {.sa_flags = SA_RESTART};

    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, NULL) != 0)
        return false;
    arrived = 0;
    if (pthread_kill(pthread_self(), number) == 0 && arrived != 0)
        return true;
    /* Never back to the default, which ends the process if one is still under way. */
    (void)signal(number, SIG_IGN);
    return false;
}

static int
sleep_ms(const struct wake *wake)
{
    int64_t left = atomic_load(&wake->due_ms) - lk_clock_monotonic_ms();

    return left < 0 ? 0 : left > WAKE_IDLE_MS ? WAKE_IDLE_MS : (int)left;
}

static void
drain(int fd)
{
    uint64_t count;

    while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

static void
knock(struct wake *wake)
{
    const struct timespec pause = {.tv_nsec = WAKE_REPEAT_US * 1000L};

    for (int i = 0; i < WAKE_REPEATS && atomic_load(&wake->wanted); i++) {
        if (atomic_load(&wake->stop))
            return;
        (void)pthread_kill(wake->main, wake->signal);
        (void)nanosleep(&pause, NULL);
    }
    atomic_store(&wake->wanted, false);
}

static void *
run(void *context)
{
    struct wake *wake = context;
    struct pollfd event = {.fd = wake->event_fd, .events = POLLIN};

    while (!atomic_load(&wake->stop)) {
        if (poll(&event, 1, sleep_ms(wake)) > 0)
            drain(wake->event_fd);
        if (lk_clock_monotonic_ms() >= atomic_load(&wake->due_ms)) {
            /* Once for a time; TICK says when the next is. */
            atomic_store(&wake->due_ms, INT64_MAX);
            atomic_store(&wake->wanted, true);
        }
        if (atomic_load(&wake->wanted))
            knock(wake);
    }
    return NULL;
}

bool
wake_open(struct wake *wake)
{
    int number = free_signal();

    memset(wake, 0, sizeof(*wake));
    wake->main = pthread_self();
    atomic_init(&wake->due_ms, INT64_MAX);
    wake->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (number == 0 || wake->event_fd < 0 || !signal_arrives(number))
        return false;
    wake->signal = number;
    if (wake_thread_start(&wake->thread, run, wake) == 0)
        return true;
    (void)signal(number, SIG_IGN);
    wake->signal = 0;
    return false;
}

static void
nudge(const struct wake *wake)
{
    const uint64_t one = 1;

    /* EAGAIN: it has been nudged 2^64 times already. */
    if (write(wake->event_fd, &one, sizeof(one)) < 0)
        return;
}

void
wake_close(struct wake *wake)
{
    if (wake->signal != 0) {
        atomic_store(&wake->stop, true);
        nudge(wake);
        (void)pthread_join(wake->thread, NULL);
        /* Signals still under way must meet neither the default nor a library that is gone. */
        (void)signal(wake->signal, SIG_IGN);
    }
    if (wake->event_fd > 0)
        (void)close(wake->event_fd);
    memset(wake, 0, sizeof(*wake));
}

void
wake_ask(struct wake *wake)
{
    if (wake->signal == 0 || atomic_exchange(&wake->wanted, true))
        return;
    nudge(wake);
}

void
wake_at(struct wake *wake, int64_t due_ms)
{
    if (wake->signal != 0)
        atomic_store(&wake->due_ms, due_ms);
}

void
wake_done(struct wake *wake)
{
    if (wake->signal != 0)
        atomic_store(&wake->wanted, false);
}
