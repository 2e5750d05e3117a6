/*
 * hold.c - many clients connected at a time: what does one take, and what does a SIGHUP cost?
 */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static void
on_pong(struct loop *loop, struct link *link, enum link_event event,
        const struct lk_mqtt_packet *packet)
{
    struct run *run = loop->user;

    if (event == LINK_CLOSED)
        (void)run_fail(run, EXIT_REFUSED, "%s: disconnected", run->people[link->index].id);
    else if (packet->type == LK_MQTT_PINGRESP)
        run->open = 1;
}

/* Microseconds until the broker answers a PINGREQ of one client; -1: it did not. */
static int64_t
ping(struct run *run)
{
    uint8_t room[4];
    struct lk_span bytes;
    int64_t began_us = watch_now_us();

    run->loop.on_event = on_pong;
    run->open = 0;
    if (lk_mqtt_write_pingreq(LK_BUF_OF(room), &bytes) != LK_OK ||
        !link_send(&run->loop, &run->links[0], bytes))
        return -1;
    while (run->open == 0 && run->code == 0 && watch_now_us() - began_us < ANSWER_MS * 1000)
        (void)loop_turn(&run->loop, 100);
    return run->open == 1 ? watch_now_us() - began_us : -1;
}

/* The handler only sets a flag: the ping behind the signal is answered when the reload is over. */
static void
hup_measure(struct run *run, json_t *answer)
{
    int64_t cpu_ns, rest_us, longest_us = 0, end_us;

    if (ping(run) < 0)
        return;
    cpu_ns = watch_cpu_ns(run->pid);
    if (kill(run->pid, SIGHUP) != 0) {
        (void)run_fail(run, EXIT_USAGE, "cannot signal %d: %s", (int)run->pid, strerror(errno));
        return;
    }
    for (end_us = watch_now_us() + 300000; watch_now_us() < end_us && run->code == 0;) {
        rest_us = ping(run);
        longest_us = rest_us > longest_us ? rest_us : longest_us;
        (void)loop_turn(&run->loop, 5);
    }
    (void)json_object_set_new(answer, "hup_cpu_ms",
                              json_real((double)(watch_cpu_ns(run->pid) - cpu_ns) / 1e6));
    (void)json_object_set_new(answer, "hup_longest_ping_ms", json_real((double)longest_us / 1e3));
}

static void
rest(struct run *run)
{
    int64_t end_us = watch_now_us() + (int64_t)(run->seconds * 1e6);

    while (watch_now_us() < end_us && run->code == 0)
        (void)loop_turn(&run->loop, 100);
}

int
hold_run(struct run *run, json_t **answer)
{
    int64_t before = 0;
    int code = people_make(run, run->clients, 0);

    if (code != 0)
        return code;
    before = run->pid != 0 ? watch_resident(run->pid) : 0;
    code = people_connect(run);
    if (code != 0)
        return code;
    *answer = json_pack("{s:s, s:i}", "run", "hold", "clients", (int)run->count);
    if (run->pid != 0)
        (void)json_object_set_new(
            *answer, "bytes_per_client",
            json_real((double)(watch_resident(run->pid) - before) / run->count));
    run->loop.on_event = on_pong;
    rest(run);
    if (run->hup && run->pid != 0 && run->code == 0)
        hup_measure(run, *answer);
    people_leave(run);
    return run->code;
}
