/*
 * An actuator: waits for commands on devices/{id}/commands/+, carries them out, says how it went.
 *
 * Copy from here. What belongs to Linux is in ../posix/board.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../posix/board.h"

static const char usage[] =
    "usage: latchkey-example-actuator [options]\n"
    "  --count N       carry out N commands, then end\n"
    "  --lifetime S    ask for tokens that live S seconds\n"
    "  --renewals N    end after N renewals of the token\n"
    "  --mqtt 3|5      MQTT 3.1.1 or 5 (5)\n"
    "  --bearer        MQTT 5 with the token as password\n"
    "  --jwt           tokens as JWT instead of CWT\n"
    "environment: LATCHKEY_URL LATCHKEY_CA LATCHKEY_CLIENT_ID LATCHKEY_CLIENT_SECRET[_FILE]\n"
    "             LATCHKEY_MQTT_HOST LATCHKEY_MQTTS_PORT or LATCHKEY_MQTT_PORT\n";

#define COMMAND_MAX 1024 /* bytes of a command's payload */
#define KNOWN_MAX   8    /* commands remembered, to recognise one that comes twice */
#define ID_MAX      64   /* bytes of a command's id; the server's are shorter */

/* All memory of the device: no heap is used but that of mbedTLS. */
static struct lk_source source;
static struct lk_device device;
static uint8_t token_room[1024], work_room[2048], in_room[2048], out_room[2048], outbox[2048];

struct actuator {
    struct board board;
    uint32_t carried_out, renewals;
    struct {
        uint8_t id[ID_MAX];
        size_t len;
        enum lk_result result;
    } known[KNOWN_MAX];
    size_t known_next;
};

static void
answer(struct lk_span id, enum lk_result result, struct lk_span detail)
{
    static const char *const words[] = {"received", "done", "failed"};
    enum lk_err err = lk_device_result(&device, id, result, detail);

    printf("result id=%.*s state=%s%s%s\n", (int)id.len, (const char *)id.ptr, words[result],
           err == LK_OK ? "" : " not sent err=", err == LK_OK ? "" : lk_err_name(err));
}

/* QoS 1 means at least once: a valve must not be opened twice for one command. */
static const enum lk_result *
find_known(const struct actuator *a, struct lk_span id)
{
    size_t i;

    for (i = 0; i < KNOWN_MAX; i++) {
        if (a->known[i].len > 0 && lk_span_equal(lk_span_of(a->known[i].id, a->known[i].len), id))
            return &a->known[i].result;
    }
    return NULL;
}

static void
remember(struct actuator *a, struct lk_span id, enum lk_result result)
{
    size_t at = a->known_next++ % KNOWN_MAX;

    a->known[at].len = id.len;
    a->known[at].result = result;
    memcpy(a->known[at].id, id.ptr, id.len);
}

/* Where a real actuator would move something. */
static enum lk_result
carry_out(const struct lk_command *command, struct lk_span *detail)
{
    struct lk_span status = command->args.ptr != NULL ? command->args : LK_SPAN("{}");

    if (!lk_span_is(command->name, "set")) {
        *detail = LK_SPAN("unknown command");
        return LK_RESULT_FAILED;
    }
    printf("set %.*s\n", command->is_cbor ? 0 : (int)status.len, (const char *)status.ptr);
    /* The state one has got into, for whoever asks later: retained. */
    if (lk_device_status(&device, status, 1, NULL) != LK_OK)
        printf("status not sent\n");
    return LK_RESULT_DONE;
}

static void
on_command(struct actuator *a, const struct lk_device_event *event)
{
    static uint8_t copy[COMMAND_MAX];
    struct lk_span id = event->command_id, detail = {NULL, 0};
    struct lk_command command;
    const enum lk_result *known;
    enum lk_result result;

    if (id.len > ID_MAX || event->payload.len > sizeof(copy))
        return;
    known = find_known(a, id);
    if (known != NULL) {
        printf("command id=%.*s again\n", (int)id.len, (const char *)id.ptr);
        answer(id, *known, (struct lk_span){NULL, 0});
        return;
    }
    memcpy(copy, event->payload.ptr, event->payload.len); /* parsing unescapes in place */
    if (lk_command_parse((struct lk_buf){copy, event->payload.len}, &command) != LK_OK) {
        answer(id, LK_RESULT_FAILED, LK_SPAN("not a command"));
        return;
    }
    printf("command id=%.*s name=%.*s\n", (int)id.len, (const char *)id.ptr, (int)command.name.len,
           (const char *)command.name.ptr);
    answer(id, LK_RESULT_RECEIVED, (struct lk_span){NULL, 0});
    result = carry_out(&command, &detail);
    answer(id, result, detail);
    remember(a, id, result);
    a->carried_out++;
}

static void
on_event(void *ctx, struct lk_device *d, const struct lk_device_event *event)
{
    struct actuator *a = ctx;
    const struct options *o = &a->board.options;

    board_print(&a->board, event);
    if (event->kind == LK_DEVICE_COMMAND)
        on_command(a, event);
    if (event->kind == LK_DEVICE_RENEWED)
        a->renewals++;
    if ((o->count > 0 && a->carried_out >= o->count) ||
        (o->renewals > 0 && a->renewals >= o->renewals))
        lk_device_stop(d);
}

static enum lk_err
start(struct actuator *a)
{
    struct board *b = &a->board;
    struct lk_source_config token = {
        .link = b->source_link,
        .random = lk_posix_random(),
        .host = b->source_host,
        .client_id = b->id,
        .client_secret = b->secret,
        .format = b->options.format,
        .expires_in_s = b->options.lifetime_s,
        .token_room = LK_BUF_OF(token_room),
        .work_room = LK_BUF_OF(work_room),
    };
    struct lk_device_config mqtt = {
        .source = &source,
        .link = b->broker_link,
        .random = lk_posix_random(),
        .version = b->options.version,
        .bearer = b->options.bearer,
        .id = b->id,
        .keep_alive_s = 30,
        .session_expiry_s = 86400, /* commands wait a day for us */
        .commands = true,
        .in_room = LK_BUF_OF(in_room),
        .out_room = LK_BUF_OF(out_room),
        .outbox = LK_BUF_OF(outbox),
        .on_event = on_event,
        .ctx = a,
    };
    enum lk_err err = lk_source_init(&source, &token);

    return err == LK_OK ? lk_device_init(&device, &mqtt) : err;
}

int
main(int argc, char **argv)
{
    static struct actuator a;
    struct options defaults = {usage, 0, 0, 5000, 0, LK_MQTT_5, false, LK_FORMAT_CWT};
    int status = 2;

    if (!board_open(&a.board, defaults, argc, argv) || start(&a) != LK_OK)
        goto out;
    while (!lk_device_is_stopped(&device)) {
        struct lk_device_want want;

        if (board_is_leaving())
            lk_device_stop(&device);
        want = lk_device_step(&device, lk_posix_now_ms());
        lk_posix_wait(&want, &a.board.source_tcp, &a.board.broker_tcp);
    }
    printf("done commands=%" PRIu32 " renewals=%" PRIu32 "\n", a.carried_out, a.renewals);
    status = 0;
out:
    lk_device_wipe(&device);
    lk_source_wipe(&source);
    board_close(&a.board);
    return status;
}
