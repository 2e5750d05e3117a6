/*
 * latchkey/topic.h - MQTT topics and filters: validity, matching, containment.
 *
 * On bytes, level by level (MQTT 5.0 section 4.7): no normalisation. `+` fills one whole level, `#`
 * the rest and the parent; a filter whose first level is a wildcard never matches a topic that
 * begins with `$`.
 */
#ifndef LATCHKEY_TOPIC_H
#define LATCHKEY_TOPIC_H

#include <latchkey/bytes.h>
#include <latchkey/err.h>

/** A name one may publish to: 1 to 65535 bytes of UTF-8, no NUL, no wildcard. */
bool lk_topic_is_valid(struct lk_span topic);

/** A filter one may subscribe to, `$share/<group>/` included: wildcards in their places only. */
bool lk_filter_is_valid(struct lk_span filter);

/** Both valid, else the answer is false. */
bool lk_topic_matches(struct lk_span filter, struct lk_span topic);

/**
 * Does `rule` cover every topic `filter` could match? `filter` without `$share/<group>/`.
 * Exact except for two safe corners: "+/#" is not taken to cover "#", and the empty topic counts as
 * one, so "/#", which has it as its parent, is not covered by "/+/#".
 */
bool lk_filter_covers(struct lk_span rule, struct lk_span filter);

/**
 * Split `$share/<group>/<filter>`.
 * @return true and both parts for a shared filter that is well-formed; false, with `inner` the
 *         whole filter and no group, for one that is not shared.
 */
bool lk_filter_split_share(struct lk_span filter, struct lk_span *group, struct lk_span *inner);

#endif
