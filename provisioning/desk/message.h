/*
 * desk/message.h - payloads of contracts section 10: JSON, or CBOR with the same names.
 *
 * The first byte decides: a CBOR map (0xa0 to 0xbb) or a tag in front of one is CBOR, everything
 * else is read as JSON. Either way the root must be an object, nothing may be there twice, at most
 * LK_DEPTH_MAX containers may be nested, and what comes out is compact JSON.
 *
 * CBOR to JSON follows RFC 8949 section 6.1: byte strings become base64url text, tags are dropped,
 * NaN, infinities and `undefined` become null, integer keys become decimal text. An integer that
 * does not fit 64 bits with sign, an indefinite length, an unassigned simple value and a map of
 * more than LK_MEMBERS_MAX pairs are refused.
 */
#ifndef DESK_MESSAGE_H
#define DESK_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

/** A payload taken apart. Plain data apart from `object`, which message_free gives back. */
struct message {
    struct lk_span json; /* compact JSON, inside the room the caller lent */
    json_t *object;
};

/**
 * Read a payload of at most TELEMETRY_MAX bytes.
 *
 * @param room  TELEMETRY_MAX bytes are enough for everything that is accepted.
 * @return LK_OK; LK_ERR_LIMIT (the payload, or its JSON, is too long), LK_ERR_TYPE (not an object,
 *         or a CBOR item without a JSON form), LK_ERR_DEPTH, LK_ERR_DUPLICATE (CBOR), LK_ERR_RANGE,
 *         LK_ERR_UTF8, LK_ERR_TRUNCATED, LK_ERR_MALFORMED, LK_ERR_TRAILING, LK_ERR_NOMEM.
 *         JSON errors other than depth, type and size are all LK_ERR_MALFORMED.
 */
LK_MUST_CHECK enum lk_err message_read(struct lk_span payload, struct lk_buf room,
                                       struct message *message);
void message_free(struct message *message);

/**
 * Write any JSON value compactly; real numbers in the shortest form that reads back the same.
 * @return LK_OK, LK_ERR_LIMIT (the room is too small), LK_ERR_DEPTH (more than LK_DEPTH_MAX).
 */
LK_MUST_CHECK enum lk_err message_write(const json_t *value, struct lk_buf room,
                                        struct lk_span *json);

/** What telemetry says about the device itself. */
struct message_vitals {
    bool has_battery, has_rssi;
    bool is_odd;    /* battery or rssi is there but not a number in its range; it was left out */
    double battery; /* percent, 0 to 100 */
    double rssi;    /* dBm, -200 to 100 */
};

void message_vitals(const struct message *telemetry, struct message_vitals *vitals);

enum message_result_state { MESSAGE_RECEIVED, MESSAGE_DONE, MESSAGE_FAILED };

/**
 * Read a command's result.
 * @param detail  [out] the member `detail` as compact JSON inside `room`; absent if there is none,
 *                or if it is longer than the room (the state counts all the same).
 * @return LK_OK, LK_ERR_MISSING (no state), LK_ERR_SYNTAX (not one of the three).
 */
LK_MUST_CHECK enum lk_err message_result(const struct message *result, struct lk_buf room,
                                         enum message_result_state *state, struct lk_span *detail);

/** Read presence. @return LK_OK, LK_ERR_MISSING (no boolean `online`), LK_ERR_RANGE (`since`). */
LK_MUST_CHECK enum lk_err message_presence(const struct message *presence, bool *online,
                                           int64_t *since_s);

#endif
