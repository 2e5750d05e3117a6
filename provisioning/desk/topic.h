/*
 * desk/topic.h - which device a topic belongs to, and what it is about (contracts section 4).
 */
#ifndef DESK_TOPIC_H
#define DESK_TOPIC_H

#include <stdbool.h>

#include <latchkey/bytes.h>

enum desk_topic_kind {
    DESK_TOPIC_TELEMETRY, /* devices/{device}/telemetry[/...] */
    DESK_TOPIC_STATUS,    /* devices/{device}/status[/...] */
    DESK_TOPIC_RESULT,    /* devices/{device}/commands/{command}/result */
    DESK_TOPIC_PRESENCE   /* devices/{device}/presence */
};

struct desk_topic {
    enum desk_topic_kind kind;
    struct lk_span device;  /* the whole id, tenant included; into the topic */
    struct lk_span command; /* DESK_TOPIC_RESULT only */
};

/** A command id we might have given: COMMAND_ID_LEN of [0-9a-z]. */
bool desk_command_id_is_valid(struct lk_span id);

/**
 * Take a topic apart. `t/{tenant}/` in front must agree with the id's tenant, and an id with a
 * tenant must stand under it.
 * @return false for any other topic, and for an id that is not one.
 */
bool desk_topic_parse(struct lk_span topic, struct desk_topic *out);

/** `[t/{tenant}/]devices/{device}/commands/{command}`, terminated. @return false: no room. */
bool desk_topic_of_command(struct lk_span device, struct lk_span command, struct lk_buf room);

#endif
