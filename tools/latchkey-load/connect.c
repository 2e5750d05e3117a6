/*
 * connect.c - connect and disconnect, over and over: what does a login cost?
 *
 * In the first round every token is new to the broker, in the following ones it has seen it.
 */
#include "run.h"

struct storm {
    struct run *run;
    unsigned next, under_way;
    uint64_t done;
    bool ends; /* time is up */
};

static void
on_event(struct loop *loop, struct link *link, enum link_event event,
         const struct lk_mqtt_packet *packet)
{
    struct storm *storm = loop->user;

    (void)packet;
    if (event == LINK_CONNECTED) {
        link_leave(loop, link);
    } else if (event == LINK_CLOSED) {
        storm->under_way--;
        storm->done++;
        if (!link->is_open)
            (void)run_fail(storm->run, link->refusal != 0 ? EXIT_REFUSED : EXIT_UNREACHABLE,
                           "%s: %s", storm->run->people[link->index].id,
                           link->refusal != 0 ? lk_mqtt_reason_text(link->refusal)
                                              : "the connection was lost");
    }
}

/* How many may be started by now? */
static uint64_t
allowance(const struct run *run, int64_t began_us)
{
    if (run->rate == 0)
        return UINT64_MAX;
    return (uint64_t)((watch_now_us() - began_us) * run->rate / 1000000) + 1;
}

static int
start_more(struct storm *storm, int64_t began_us)
{
    struct run *run = storm->run;
    uint64_t most = allowance(run, began_us);

    while (storm->under_way < IN_FLIGHT_MAX && storm->next < run->count && !storm->ends &&
           storm->done + storm->under_way < most) {
        struct link *link = &run->links[storm->next];
        const struct lk_mqtt_connect connect = person_connect(&run->who, &run->people[storm->next]);

        if (link->fd >= 0) /* its last time is not over: wait */
            break;
        if (link_open(&run->loop, link, &connect) != LK_OK)
            return run_fail(run, EXIT_UNREACHABLE, "%s:%u: cannot connect", run->host, run->port);
        storm->under_way++;
        storm->next++;
        if (run->seconds > 0 && storm->next == run->count)
            storm->next = 0;
    }
    return 0;
}

/* One round: everybody once, or for so many seconds. */
static int
round_run(struct storm *storm, int64_t began_us)
{
    struct run *run = storm->run;
    int64_t heard_us = began_us, end_us = began_us + (int64_t)(run->seconds * 1e6);

    while (run->code == 0 && (storm->under_way > 0 || (storm->next < run->count && !storm->ends))) {
        if (start_more(storm, began_us) != 0)
            break;
        if (loop_turn(&run->loop, run->rate > 0 ? 1 : 100) > 0)
            heard_us = watch_now_us();
        else if (watch_now_us() - heard_us > ANSWER_MS * 1000)
            return run_fail(run, EXIT_UNREACHABLE, "no answer from the broker");
        storm->ends = run->seconds > 0 && watch_now_us() >= end_us;
        run_progress(run, "logins", storm->done, run->seconds > 0 ? UINT64_MAX : run->count);
    }
    return run->code;
}

static json_t *
round_measure(struct run *run, bool first)
{
    struct storm storm = {.run = run};
    int64_t began_us = watch_now_us(), cpu_ns = run->pid != 0 ? watch_cpu_ns(run->pid) : 0;
    double seconds, cpu_us;
    json_t *row;

    run->loop.user = &storm;
    run->loop.on_event = on_event;
    (void)round_run(&storm, began_us);
    run->loop.user = run;
    seconds = (double)(watch_now_us() - began_us) / 1e6;
    row = json_pack("{s:s, s:I, s:f, s:f}", "tokens",
                    run->who.key_file == NULL ? "none"
                    : first                   ? "first seen"
                                              : "seen before",
                    "logins", (json_int_t)storm.done, "seconds", seconds, "per_second",
                    (double)storm.done / seconds);
    if (run->pid != 0 && storm.done > 0) {
        cpu_us = (double)(watch_cpu_ns(run->pid) - cpu_ns) / 1e3 / (double)storm.done;
        (void)json_object_set_new(row, "cpu_us", json_real(cpu_us));
    }
    return row;
}

int
connect_run(struct run *run, json_t **answer)
{
    json_t *rows;
    int code = people_make(run, run->clients, 0);

    if (code != 0)
        return code;
    rows = json_array();
    for (unsigned i = 0; i < run->rounds && run->code == 0; i++)
        (void)json_array_append_new(rows, round_measure(run, i == 0));
    *answer = json_pack("{s:s, s:i, s:o}", "run", "connect", "clients", (int)run->clients, "rounds",
                        rows);
    return run->code;
}
