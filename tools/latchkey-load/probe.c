/*
 * probe.c - a bystander: one client sends to another, so many times a second. How long does a
 * message take while the broker is busy with others?
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

struct probe {
    struct run *run;
    struct samples samples;
    uint64_t sent;
};

static void
on_event(struct loop *loop, struct link *link, enum link_event event,
         const struct lk_mqtt_packet *packet)
{
    struct probe *probe = loop->user;
    int64_t sent_us;

    if (event == LINK_CLOSED) {
        (void)run_fail(probe->run, EXIT_UNREACHABLE, "%s: the connection was lost",
                       probe->run->people[link->index].id);
    } else if (packet->type == LK_MQTT_PUBLISH && packet->payload.len == sizeof(sent_us)) {
        memcpy(&sent_us, packet->payload.ptr, sizeof(sent_us));
        samples_put(&probe->samples, watch_now_us() - sent_us);
    }
}

static void
send_one(struct probe *probe)
{
    int64_t now_us = watch_now_us();
    uint8_t room[128];
    char topic[64];
    struct lk_mqtt_publish publish = {
        .topic = lk_span_of(topic, (size_t)snprintf(topic, sizeof(topic), "devices/%s/telemetry",
                                                    probe->run->people[0].id)),
        .payload = lk_span_of((const uint8_t *)&now_us, sizeof(now_us)),
    };
    struct lk_span bytes;

    if (lk_mqtt_write_publish(probe->run->who.version, &publish, LK_BUF_OF(room), &bytes) == LK_OK)
        (void)link_send(&probe->run->loop, &probe->run->links[0], bytes);
    probe->sent++;
}

static void
probe_loop(struct probe *probe)
{
    struct run *run = probe->run;
    int64_t began_us = watch_now_us(), now_us = began_us;
    int64_t end_us = began_us + (int64_t)(run->seconds * 1e6);
    int64_t pause_us = 1000000 / run->rate, due_us = began_us;

    while (now_us < end_us && run->code == 0) {
        if (now_us >= due_us) {
            send_one(probe);
            due_us += pause_us;
        }
        (void)loop_turn(&run->loop, now_us < due_us ? (int)((due_us - now_us) / 1000) : 0);
        now_us = watch_now_us();
        run_progress(run, "messages", probe->samples.count, UINT64_MAX);
    }
    for (end_us = now_us + 1000000; probe->samples.count < probe->sent && watch_now_us() < end_us;)
        (void)loop_turn(&run->loop, 10);
}

int
probe_run(struct run *run, json_t **answer)
{
    struct probe probe = {.run = run};
    int code;

    run->rate = run->rate == 0 ? 200 : run->rate;
    run->seconds = run->seconds > 0 ? run->seconds : 5;
    run->qos = 0;
    code = people_make(run, 1, 1);
    if (code == 0)
        code = people_connect(run);
    if (code == 0)
        code = person_subscribe(run, 1, "devices/+/telemetry");
    if (code != 0)
        return code;
    run->loop.user = &probe;
    run->loop.on_event = on_event;
    probe_loop(&probe);
    run->loop.user = run;
    *answer = json_pack("{s:s, s:I, s:I, s:i, s:i, s:i}", "run", "probe", "sent",
                        (json_int_t)probe.sent, "received", (json_int_t)probe.samples.count,
                        "p50_us", (int)samples_at(&probe.samples, 0.5), "p99_us",
                        (int)samples_at(&probe.samples, 0.99), "max_us",
                        (int)samples_at(&probe.samples, 1));
    samples_free(&probe.samples);
    people_leave(run);
    return run->code;
}
