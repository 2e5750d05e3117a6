/*
 * json_find.h - look into a JSON object without changing it; private to the token library.
 */
#ifndef LK_JSON_FIND_H
#define LK_JSON_FIND_H

#include <latchkey/json.h>

/**
 * Find a member of an object that is a string, and unescape it into room.
 * @return false if there is none, it is no string, or room is too small.
 */
bool lk_json_find_text(struct lk_span object, struct lk_span name, struct lk_buf room,
                       struct lk_span *value);

/** Find a member of an object, and its value as it stands. @return false if there is none. */
bool lk_json_find_raw(struct lk_span object, struct lk_span name, struct lk_span *value);

/** Has an object, which need not have been checked, a member of this name? */
bool lk_json_has_member(struct lk_span object, struct lk_span name);

#endif
