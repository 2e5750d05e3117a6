/*
 * people.c - the clients of a run: made, connected, subscribed, sent away.
 */
#include "run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int
run_fail(struct run *run, int code, const char *format, ...)
{
    va_list args;

    if (run->code != 0)
        return run->code;
    run->code = code;
    va_start(args, format);
    (void)fputs("latchkey-load: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    return code;
}

void
run_progress(const struct run *run, const char *what, uint64_t done, uint64_t all)
{
    static int64_t last_us;
    int64_t now_us = watch_now_us();

    if (!run->progress || (done < all && now_us - last_us < PROGRESS_MS * 1000))
        return;
    last_us = now_us;
    (void)fprintf(stderr, "\r%s: %llu of %llu%s", what, (unsigned long long)done,
                  (unsigned long long)all, done < all ? "" : "\n");
}

int
people_make(struct run *run, unsigned sensors, unsigned monitors)
{
    int code = 0;

    run->count = sensors + monitors;
    run->links = calloc(run->count, sizeof(*run->links));
    run->people = calloc(run->count, sizeof(*run->people));
    if (run->links == NULL || run->people == NULL)
        return run_fail(run, EXIT_REFUSED, "%s", lk_err_text(LK_ERR_NOMEM));
    for (unsigned i = 0; i < run->count && code == 0; i++) {
        run->links[i].fd = -1;
        run->links[i].index = i;
        person_name(&run->people[i], i < sensors ? WHO_SENSOR : WHO_MONITOR,
                    run->first + (i < sensors ? i : i - sensors));
        code = person_renew(&run->who, &run->people[i]);
        run_progress(run, "tokens made", i + 1, run->count);
    }
    return code;
}

void
people_free(struct run *run)
{
    for (unsigned i = 0; i < run->count; i++) {
        link_drop(&run->loop, &run->links[i]);
        link_free(&run->links[i]);
        person_free(&run->people[i]);
    }
    free(run->links);
    free(run->people);
    run->links = NULL;
    run->people = NULL;
    run->count = 0;
}

static void
on_arrival(struct loop *loop, struct link *link, enum link_event event,
           const struct lk_mqtt_packet *packet)
{
    struct run *run = loop->user;

    (void)packet;
    if (event == LINK_CONNECTED)
        run->open++;
    else if (event == LINK_CLOSED)
        (void)run_fail(run, link->refusal != 0 ? EXIT_REFUSED : EXIT_UNREACHABLE, "%s: %s",
                       run->people[link->index].id,
                       link->refusal != 0 ? lk_mqtt_reason_text(link->refusal)
                                          : "the connection was lost");
}

int
people_connect(struct run *run)
{
    unsigned next = 0;
    int64_t heard_us = watch_now_us();

    run->loop.on_event = on_arrival;
    run->open = 0;
    while (run->open < run->count && run->code == 0) {
        for (; next < run->count && next - run->open < IN_FLIGHT_MAX; next++) {
            const struct lk_mqtt_connect connect = person_connect(&run->who, &run->people[next]);

            if (link_open(&run->loop, &run->links[next], &connect) != LK_OK)
                return run_fail(run, EXIT_UNREACHABLE, "%s:%u: cannot connect", run->host,
                                run->port);
        }
        if (loop_turn(&run->loop, 1000) > 0)
            heard_us = watch_now_us();
        else if (watch_now_us() - heard_us > ANSWER_MS * 1000)
            return run_fail(run, EXIT_UNREACHABLE, "no answer from the broker");
        run_progress(run, "connected", run->open, run->count);
    }
    return run->code;
}

static void
on_suback(struct loop *loop, struct link *link, enum link_event event,
          const struct lk_mqtt_packet *packet)
{
    struct run *run = loop->user;

    if (event == LINK_CLOSED)
        (void)run_fail(run, EXIT_UNREACHABLE, "%s: the connection was lost",
                       run->people[link->index].id);
    else if (event == LINK_PACKET && packet->type == LK_MQTT_SUBACK)
        run->open = packet->reasons.len == 1 && packet->reasons.ptr[0] < 0x80;
}

int
person_subscribe(struct run *run, unsigned index, const char *filter)
{
    uint8_t room[128];
    struct lk_span bytes;
    int64_t until_us = watch_now_us() + ANSWER_MS * 1000;

    if (lk_mqtt_write_subscribe(run->who.version, 1, lk_span_text(filter), run->qos,
                                LK_BUF_OF(room), &bytes) != LK_OK)
        return run_fail(run, EXIT_USAGE, "%s: not a filter", filter);
    run->loop.on_event = on_suback;
    run->open = 2; /* no answer yet */
    (void)link_send(&run->loop, &run->links[index], bytes);
    while (run->open == 2 && run->code == 0 && watch_now_us() < until_us)
        (void)loop_turn(&run->loop, 100);
    if (run->code == 0 && run->open != 1)
        return run_fail(run, EXIT_REFUSED, "%s may not subscribe to %s", run->people[index].id,
                        filter);
    return run->code;
}

static void
on_departure(struct loop *loop, struct link *link, enum link_event event,
             const struct lk_mqtt_packet *packet)
{
    struct run *run = loop->user;

    (void)link;
    (void)packet;
    if (event == LINK_CLOSED)
        run->open--;
}

void
people_leave(struct run *run)
{
    int64_t until_us = watch_now_us() + 2000 * 1000;

    run->loop.on_event = on_departure;
    run->open = 0;
    for (unsigned i = 0; i < run->count; i++) {
        if (run->links[i].fd < 0)
            continue;
        run->open++;
        link_leave(&run->loop, &run->links[i]);
    }
    while (run->open > 0 && watch_now_us() < until_us)
        (void)loop_turn(&run->loop, 100);
}
