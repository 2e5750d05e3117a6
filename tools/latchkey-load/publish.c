/*
 * publish.c - messages from P publishers to S subscribers, each of whom gets all of them.
 *
 * A publisher is at most a window ahead of what its slowest reader has, so nothing is dropped and
 * the broker is never idle: what is measured is the broker.
 */
#include "run.h"

#include <stdio.h>
#include <string.h>

struct flow {
    struct run *run;
    uint64_t sent, received, acked, expected;
    uint16_t packet_id;
};

static void
ack(struct flow *flow, struct link *link, uint16_t packet_id)
{
    uint8_t room[8];
    struct lk_span bytes;

    if (lk_mqtt_write_puback(flow->run->who.version, packet_id, 0, LK_BUF_OF(room), &bytes) ==
        LK_OK)
        (void)link_send(&flow->run->loop, link, bytes);
}

static void
on_event(struct loop *loop, struct link *link, enum link_event event,
         const struct lk_mqtt_packet *packet)
{
    struct flow *flow = loop->user;

    if (event == LINK_CLOSED) {
        (void)run_fail(flow->run, EXIT_UNREACHABLE, "%s: the connection was lost",
                       flow->run->people[link->index].id);
    } else if (packet->type == LK_MQTT_PUBLISH) {
        flow->received++;
        if (packet->qos == 1)
            ack(flow, link, packet->packet_id);
    } else if (packet->type == LK_MQTT_PUBACK) {
        flow->acked++;
        if (packet->reason >= 0x80)
            (void)run_fail(flow->run, EXIT_REFUSED, "%s may not publish",
                           flow->run->people[link->index].id);
    }
}

static bool
publish_one(struct flow *flow, unsigned publisher)
{
    static uint8_t payload[PAYLOAD_MAX], room[PAYLOAD_MAX + 256];
    struct run *run = flow->run;
    struct lk_mqtt_publish publish = {.qos = run->qos};
    struct lk_span bytes;
    char topic[64];

    (void)snprintf(topic, sizeof(topic), "devices/%s/telemetry", run->people[publisher].id);
    flow->packet_id = flow->packet_id == UINT16_MAX ? 1 : (uint16_t)(flow->packet_id + 1);
    publish.topic = lk_span_text(topic);
    publish.payload = lk_span_of(payload, run->size);
    publish.packet_id = run->qos == 0 ? 0 : flow->packet_id;
    return lk_mqtt_write_publish(run->who.version, &publish, LK_BUF_OF(room), &bytes) == LK_OK &&
           link_send(&run->loop, &run->links[publisher], bytes);
}

/* Messages that are on their way, counted once each. */
static uint64_t
under_way(const struct flow *flow)
{
    uint64_t arrived = flow->received / flow->run->subscribers;

    if (flow->run->qos == 1 && flow->acked < arrived)
        arrived = flow->acked;
    return flow->sent - arrived;
}

static int
flow_run(struct flow *flow, uint64_t messages)
{
    struct run *run = flow->run;
    int64_t heard_us = watch_now_us();
    /* QoS 1: also within the 20 unacknowledged messages a broker gives a subscriber by default. */
    const uint64_t window = run->qos == 1 ? 16 : WINDOW_MAX;

    while (flow->received < messages * run->subscribers && run->code == 0) {
        while (flow->sent < messages && under_way(flow) < window &&
               publish_one(flow, (unsigned)(flow->sent % run->publishers)))
            flow->sent++;
        if (loop_turn(&run->loop, 100) > 0)
            heard_us = watch_now_us();
        else if (watch_now_us() - heard_us > ANSWER_MS * 1000)
            return run_fail(run, EXIT_REFUSED, "%llu of %llu messages did not arrive",
                            (unsigned long long)(messages * run->subscribers - flow->received),
                            (unsigned long long)(messages * run->subscribers));
        run_progress(run, "messages", flow->received, messages * run->subscribers);
    }
    return run->code;
}

static json_t *
flow_measure(struct run *run)
{
    struct flow flow = {.run = run};
    uint64_t messages = (uint64_t)run->messages * run->publishers;
    int64_t began_us = watch_now_us(), cpu_ns = run->pid != 0 ? watch_cpu_ns(run->pid) : 0;
    double seconds;
    json_t *answer;

    run->loop.user = &flow;
    run->loop.on_event = on_event;
    (void)flow_run(&flow, messages);
    run->loop.user = run;
    seconds = (double)(watch_now_us() - began_us) / 1e6;
    answer =
        json_pack("{s:s, s:i, s:i, s:i, s:I, s:I, s:f, s:f}", "run", "publish", "publishers",
                  (int)run->publishers, "subscribers", (int)run->subscribers, "qos", (int)run->qos,
                  "sent", (json_int_t)flow.sent, "received", (json_int_t)flow.received, "seconds",
                  seconds, "per_second", (double)flow.received / seconds);
    if (run->pid != 0 && flow.received > 0)
        (void)json_object_set_new(
            answer, "cpu_us",
            json_real((double)(watch_cpu_ns(run->pid) - cpu_ns) / 1e3 / (double)flow.received));
    return answer;
}

int
publish_run(struct run *run, json_t **answer)
{
    int code = people_make(run, run->publishers, run->subscribers);

    if (code == 0)
        code = people_connect(run);
    for (unsigned i = 0; i < run->subscribers && code == 0; i++)
        code = person_subscribe(run, run->publishers + i, "devices/+/telemetry");
    if (code != 0)
        return code;
    *answer = flow_measure(run);
    people_leave(run);
    return run->code;
}
