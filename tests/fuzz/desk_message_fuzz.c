/*
 * What a device publishes: any bytes, as telemetry, status, result or presence.
 *
 * What is accepted must be JSON that is accepted again and comes out the same.
 */
#include "fuzz.h"

#include <latchkey/limits.h>

#include "desk/message.h"
#include "desk/topic.h"
#include "limits.h"

static uint8_t first_room[TELEMETRY_MAX], second_room[TELEMETRY_MAX];

static void
use(const struct message *message)
{
    uint8_t room[COMMAND_DETAIL_MAX];
    struct message_vitals vitals;
    enum message_result_state state;
    struct lk_span detail;
    int64_t since_s;
    bool online;

    message_vitals(message, &vitals);
    if (message_result(message, LK_BUF_OF(room), &state, &detail) == LK_OK)
        PROMISE(detail.len <= sizeof(room));
    if (message_presence(message, &online, &since_s) == LK_OK)
        PROMISE(since_s >= 0);
}

static void
check_again(const struct message *first)
{
    struct message second;

    PROMISE(message_read(first->json, LK_BUF_OF(second_room), &second) == LK_OK);
    PROMISE(lk_span_equal(first->json, second.json));
    message_free(&second);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_span input = {data, size};
    struct message message;
    struct desk_topic topic;

    if (desk_topic_parse(input, &topic))
        PROMISE(topic.device.len <= LK_SUBJECT_MAX);
    if (message_read(input, LK_BUF_OF(first_room), &message) != LK_OK)
        return 0;
    use(&message);
    check_again(&message);
    message_free(&message);
    return 0;
}
