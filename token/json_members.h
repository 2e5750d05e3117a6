/*
 * json_members.h - walk an object once, and tell its names apart on the way; private to the token
 * library.
 *
 * lk_json_enter_object() walks over the whole object before the first member is handed out. Who
 * knows most names of an object can do without: enter it with lk_json_enter_members() and note
 * every name.
 *
 *     struct lk_json_members members;
 *
 *     lk_json_enter_members(&r, &members);
 *     while (lk_json_next_member(&r, &name)) {
 *         enum member member = member_of(name);
 *
 *         lk_json_members_note(&r, &members, name, member);
 *         ...
 *     }
 *     lk_json_leave_object(&r);
 *
 * What is refused is the same, but of several errors in one text another may be reported: the first
 * one. A value is read before what follows it has been seen.
 */
#ifndef LK_JSON_MEMBERS_H
#define LK_JSON_MEMBERS_H

#include <string.h>

#include <latchkey/json.h>

#define LK_JSON_KNOWN_MAX 32 /* names that have a number */

struct lk_json_members {
    uint32_t known; /* the numbers of names seen */
    uint32_t count;
    size_t other_count;
    struct lk_span others[LK_MEMBERS_MAX]; /* seen, without a number; unescaped in their places */
};

/* Is this the name? For literals, whose length the compiler knows. */
static inline bool
lk_json_name_is(struct lk_span name, const char *literal)
{
    size_t len = strlen(literal);

    return name.len == len && memcmp(name.ptr, literal, len) == 0;
}

static inline void
lk_json_fail(struct lk_json *r, enum lk_err err)
{
    if (r->err == LK_OK)
        r->err = err;
}

void lk_json_enter_members(struct lk_json *r, struct lk_json_members *m);

/* A name without a number; there is room for it. */
void lk_json_members_add(struct lk_json *r, struct lk_json_members *m, struct lk_span name);

/**
 * Note the name of the member the reader is at: LK_ERR_DUPLICATE, LK_ERR_LIMIT.
 * @param number  the same for the same name; LK_JSON_KNOWN_MAX or above: it has none.
 */
static inline void
lk_json_members_note(struct lk_json *r, struct lk_json_members *m, struct lk_span name,
                     unsigned number)
{
    if (m->count++ == LK_MEMBERS_MAX) {
        lk_json_fail(r, LK_ERR_LIMIT);
    } else if (number >= LK_JSON_KNOWN_MAX) {
        lk_json_members_add(r, m, name);
    } else {
        if ((m->known >> number & 1) != 0)
            lk_json_fail(r, LK_ERR_DUPLICATE);
        m->known |= UINT32_C(1) << number;
    }
}

#endif
