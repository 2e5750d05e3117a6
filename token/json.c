#include "json_find.h"
#include "json_members.h"
#include "level.h"

#include <latchkey/base64url.h>

#include <string.h>

#define INT_MAX_EXACT ((int64_t)1 << 53) /* RFC 8259 section 6: what every reader agrees on */
#define INT_DIGITS    15                 /* so many digits are always below that */

/* Part one: walking over text without changing it. `p` never passes `end`. */

struct walk {
    const uint8_t *p;
    const uint8_t *end;
    enum lk_err err;
};

static inline void
walk_fail(struct walk *w, enum lk_err err)
{
    if (w->err == LK_OK)
        w->err = err;
}

static inline const uint8_t *
space_end(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p <= ' ' && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* The next character, or 0 at the end, which the error notes. */
static inline uint8_t
walk_peek(struct walk *w)
{
    if (w->err != LK_OK)
        return 0;
    if (w->p >= w->end) {
        w->err = LK_ERR_TRUNCATED;
        return 0;
    }
    return *w->p;
}

static inline bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
hex4(struct walk *w, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, w->p++) {
        uint8_t c = walk_peek(w);
        uint8_t lower = c | 0x20;

        if (w->err != LK_OK)
            return false;
        if (is_digit(c)) {
            *unit = *unit << 4 | (uint32_t)(c - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            *unit = *unit << 4 | (uint32_t)(lower - 'a' + 10);
        } else {
            walk_fail(w, LK_ERR_MALFORMED);
            return false;
        }
    }
    return true;
}

/* RFC 8259 section 7: above U+FFFF, an escape is two, a high and a low surrogate. */
static uint32_t
unicode_escape(struct walk *w)
{
    uint32_t unit, low;

    if (!hex4(w, &unit))
        return 0;
    if (unit == 0)
        walk_fail(w, LK_ERR_MALFORMED);
    if (unit < 0xd800 || unit > 0xdfff)
        return unit;
    if (unit > 0xdbff || w->end - w->p < 2 || w->p[0] != '\\' || w->p[1] != 'u') {
        walk_fail(w, LK_ERR_UTF8);
        return 0;
    }
    w->p += 2;
    if (!hex4(w, &low))
        return 0;
    if (low < 0xdc00 || low > 0xdfff) {
        walk_fail(w, LK_ERR_UTF8);
        return 0;
    }
    return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

static size_t
utf8_put(uint32_t point, uint8_t out[4])
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xc0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xe0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

/* The bytes one character of a string stands for; 0 bytes at the closing quote or on an error. */
static size_t
string_step(struct walk *w, uint8_t out[4])
{
    static const char names[] = "\"\\/bfnrt";
    static const char values[] = "\"\\/\b\f\n\r\t";
    uint8_t c = walk_peek(w);
    const char *name;

    if (w->err != LK_OK || c == '"')
        return 0;
    w->p++;
    if (c < 0x20) {
        walk_fail(w, LK_ERR_MALFORMED);
        return 0;
    }
    out[0] = c;
    if (c != '\\')
        return 1;
    c = walk_peek(w);
    if (w->err != LK_OK)
        return 0;
    w->p++;
    if (c == 'u') {
        uint32_t point = unicode_escape(w);

        return w->err == LK_OK ? utf8_put(point, out) : 0;
    }
    name = c == 0 ? NULL : strchr(names, c);
    if (name == NULL) {
        walk_fail(w, LK_ERR_MALFORMED);
        return 0;
    }
    out[0] = (uint8_t)values[name - names];
    return 1;
}

/* The high bit of every byte that is not plain in a string: a quote, a backslash, a control
 * character or one above ASCII. Bits above the lowest one set may be wrong. */
static inline uint64_t
string_stops(uint64_t word)
{
    uint64_t quotes = (word ^ LK_ONES * '"') - LK_ONES;
    uint64_t backslashes = (word ^ LK_ONES * '\\') - LK_ONES;
    uint64_t controls = word - LK_ONES * ' ';

    return (quotes | backslashes | controls | word) & LK_HIGHS;
}

/* The closing quote of a string, given behind its opening one. NULL if there is none, or anything
 * that is not plain before it. */
static inline const uint8_t *
plain_string_end(const uint8_t *p, const uint8_t *end)
{
    for (; end - p >= 8; p += 8) {
        uint64_t stops = string_stops(lk_load_le64(p));

        if (stops != 0) {
            p += (unsigned)__builtin_ctzll(stops) / 8;
            return *p == '"' ? p : NULL;
        }
    }
    for (; p < end && *p >= ' ' && *p < 0x80 && *p != '\\'; p++)
        if (*p == '"')
            return p;
    return NULL;
}

/* Move behind any string, whose opening quote was seen. Escapes give valid UTF-8 by themselves, and
 * a quote or a backslash is never part of a longer sequence, so the raw text can be checked in one
 * go. Is there an escape in it? */
static bool
any_string_walk(struct walk *w)
{
    const uint8_t *start = ++w->p;
    bool escaped = false;
    uint8_t out[4];

    for (;;) {
        while (w->p < w->end && *w->p >= ' ' && *w->p != '"' && *w->p != '\\')
            w->p++;
        if (string_step(w, out) == 0)
            break;
        escaped = true;
    }
    if (w->err != LK_OK)
        return false;
    if (!lk_utf8_is_valid(lk_span_of(start, (size_t)(w->p - start)))) {
        walk_fail(w, LK_ERR_UTF8);
        return false;
    }
    w->p++;
    return escaped;
}

/* What is there is not what was asked for: a value of another type, or none at all. */
static void
walk_fail_type(struct walk *w)
{
    uint8_t c = walk_peek(w);
    bool is_value = is_digit(c) || (c != 0 && strchr("{[\"-tfn", c) != NULL);

    walk_fail(w, is_value ? LK_ERR_TYPE : LK_ERR_MALFORMED);
}

/* Move behind a string, checked whole. Is there an escape in it? */
static inline bool
string_walk(struct walk *w)
{
    const uint8_t *quote;

    if (walk_peek(w) != '"') {
        walk_fail_type(w);
        return false;
    }
    quote = plain_string_end(w->p + 1, w->end);
    if (quote == NULL)
        return any_string_walk(w);
    w->p = quote + 1;
    return false;
}

static void
digits_walk(struct walk *w)
{
    if (!is_digit(walk_peek(w)))
        walk_fail(w, LK_ERR_MALFORMED);
    while (w->err == LK_OK && w->p < w->end && is_digit(*w->p))
        w->p++;
}

/* RFC 8259 section 6. */
static void
number_walk(struct walk *w)
{
    if (walk_peek(w) == '-')
        w->p++;
    if (walk_peek(w) == '0')
        w->p++;
    else
        digits_walk(w);
    if (w->err == LK_OK && w->p < w->end && *w->p == '.') {
        w->p++;
        digits_walk(w);
    }
    if (w->err == LK_OK && w->p < w->end && (*w->p | 0x20) == 'e') {
        w->p++;
        if (w->p < w->end && (*w->p == '+' || *w->p == '-'))
            w->p++;
        digits_walk(w);
    }
}

static void
word_walk(struct walk *w, const char *word)
{
    for (; *word != '\0' && w->err == LK_OK; word++, w->p++)
        if (walk_peek(w) != (uint8_t)*word)
            walk_fail(w, LK_ERR_MALFORMED);
}

/* A value that is not a container. */
static void
scalar_walk(struct walk *w)
{
    switch (walk_peek(w)) {
    case '"':
        (void)string_walk(w);
        break;
    case 't':
        word_walk(w, "true");
        break;
    case 'f':
        word_walk(w, "false");
        break;
    case 'n':
        word_walk(w, "null");
        break;
    default:
        number_walk(w);
    }
}

static void
colon_walk(struct walk *w)
{
    if (w->err == LK_OK)
        w->p = space_end(w->p, w->end);
    if (walk_peek(w) == ':')
        w->p++;
    else
        walk_fail(w, LK_ERR_MALFORMED);
}

/* Move behind a value that was walked over before. */
static void
known_walk(struct walk *w)
{
    size_t depth = 0;

    w->p = space_end(w->p, w->end);
    do {
        uint8_t c = walk_peek(w);

        if (w->err != LK_OK)
            return;
        if (c == '"' || (depth == 0 && c != '{' && c != '[')) {
            scalar_walk(w);
            continue;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        w->p++;
    } while (depth > 0 && w->err == LK_OK);
}

/* What a checked string stands for, byte by byte. */
struct bytes {
    struct walk w;
    uint8_t held[4];
    size_t at, len;
};

static bool
bytes_next(struct bytes *b, uint8_t *byte)
{
    if (b->at == b->len) {
        b->at = 0;
        b->len = string_step(&b->w, b->held);
        if (b->len == 0)
            return false;
    }
    *byte = b->held[b->at++];
    return true;
}

/* Is a checked string, given behind its opening quote, this text? */
static bool
string_is(const uint8_t *string, const uint8_t *end, struct lk_span text)
{
    struct bytes b = {.w = {string, end, LK_OK}};
    uint8_t byte;
    size_t i = 0;

    while (bytes_next(&b, &byte)) {
        if (i == text.len || byte != text.ptr[i])
            return false;
        i++;
    }
    return i == text.len;
}

static bool
strings_equal(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
    struct bytes ba = {.w = {a, end, LK_OK}};
    struct bytes bb = {.w = {b, end, LK_OK}};
    uint8_t byte_a = 0, byte_b = 0;
    bool more_a, more_b;

    do {
        more_a = bytes_next(&ba, &byte_a);
        more_b = bytes_next(&bb, &byte_b);
        if (more_a != more_b || byte_a != byte_b)
            return false;
    } while (more_a);
    return true;
}

/* FNV-1a of what a checked string stands for: tells most strings apart without comparing them. */
static uint32_t
string_hash(const uint8_t *string, const uint8_t *end)
{
    struct bytes b = {.w = {string, end, LK_OK}};
    uint32_t hash = 0x811c9dc5;
    uint8_t byte;

    for (; *b.w.p != '"' && *b.w.p != '\\'; b.w.p++)
        hash = (hash ^ *b.w.p) * 0x01000193;
    while (bytes_next(&b, &byte))
        hash = (hash ^ byte) * 0x01000193;
    return hash;
}

/* At the first member or the end of an object whose brace is under the walk. */
static bool
members_begin(struct walk *w)
{
    w->p = space_end(w->p + 1, w->end);
    return walk_peek(w) == '"';
}

/* Behind a member: does another one follow? */
static bool
members_continue(struct walk *w)
{
    w->p = space_end(w->p, w->end);
    if (walk_peek(w) != ',')
        return false;
    w->p = space_end(w->p + 1, w->end);
    return true;
}

/* The names of the objects a walk is in, to be told apart. There is room for those of one object of
 * the largest size. When it runs out, the names of all outer objects are forgotten, and each of
 * these is looked through once more when its end is known. So ordinary text is walked over once,
 * and no text more than once for each level. */
struct name {
    const uint8_t *at; /* behind the opening quote */
    uint32_t hash;
};

struct level {
    const uint8_t *start;
    bool in_object;
    uint8_t members;
    uint8_t outer; /* names that belong to the levels around */
};

struct nest {
    struct level levels[LK_DEPTH_MAX];
    size_t inner;     /* levels open */
    size_t forgotten; /* the names of so many outer ones are not known */
    struct name names[LK_MEMBERS_MAX];
    size_t count;
};

_Static_assert(LK_MEMBERS_MAX <= UINT8_MAX, "members are counted in a byte");

static void
name_add(struct walk *w, struct nest *n, size_t outer, struct name name)
{
    for (size_t i = outer; i < n->count; i++)
        if (n->names[i].hash == name.hash && strings_equal(n->names[i].at, name.at, w->end))
            walk_fail(w, LK_ERR_DUPLICATE);
    n->names[n->count++] = name;
}

/* Make room, at the cost of the objects around the innermost one. */
static void
names_forget(struct nest *n)
{
    struct level *level = &n->levels[n->inner - 1];

    n->count -= level->outer;
    memmove(n->names, n->names + level->outer, n->count * sizeof(n->names[0]));
    level->outer = 0;
    n->forgotten = n->inner - 1;
}

/* A name of the innermost object, which the walk has just passed; it must be a new one. */
static void
name_note(struct walk *w, struct nest *n, const uint8_t *at)
{
    struct level *level;

    if (w->err != LK_OK)
        return;
    level = &n->levels[n->inner - 1];
    if (level->members == LK_MEMBERS_MAX) {
        walk_fail(w, LK_ERR_LIMIT);
        return;
    }
    level->members++;
    if (n->inner <= n->forgotten)
        return;
    if (n->count == LK_MEMBERS_MAX)
        names_forget(n);
    name_add(w, n, level->outer, (struct name){at, string_hash(at, w->end)});
}

static void
name_walk(struct walk *w, struct nest *n)
{
    const uint8_t *at;

    w->p = space_end(w->p, w->end);
    at = w->p + 1;
    if (walk_peek(w) != '"')
        walk_fail(w, LK_ERR_MALFORMED);
    else
        (void)string_walk(w);
    name_note(w, n, at);
    colon_walk(w);
}

/* Look through an object that was walked over, for its own names. No other names are known then:
 * the outer ones were forgotten before. */
static void
names_check_again(struct walk *w, struct nest *n, const uint8_t *start)
{
    struct walk again = {start, w->p, LK_OK};

    n->count = 0;
    if (!members_begin(&again))
        return;
    do {
        const uint8_t *at = again.p + 1;

        (void)string_walk(&again);
        name_add(w, n, 0, (struct name){at, string_hash(at, again.end)});
        colon_walk(&again);
        known_walk(&again);
    } while (members_continue(&again));
}

static void
level_open(struct walk *w, struct nest *n, size_t depth)
{
    if (depth + n->inner >= LK_DEPTH_MAX) {
        walk_fail(w, LK_ERR_DEPTH);
        return;
    }
    n->levels[n->inner++] = (struct level){
        .start = w->p,
        .in_object = *w->p == '{',
        .outer = (uint8_t)n->count,
    };
    w->p = space_end(w->p + 1, w->end);
}

/* Behind a closing bracket. */
static void
level_close(struct walk *w, struct nest *n)
{
    const struct level *level = &n->levels[--n->inner];

    n->count = level->outer;
    if (n->inner >= n->forgotten)
        return;
    if (level->in_object)
        names_check_again(w, n, level->start);
    n->count = 0;
    n->forgotten = n->inner;
}

/* After a value: a comma and what it announces, or the end of one or more containers. */
static void
separator_walk(struct walk *w, struct nest *n)
{
    while (n->inner > 0 && w->err == LK_OK) {
        bool in_object = n->levels[n->inner - 1].in_object;
        uint8_t c;

        w->p = space_end(w->p, w->end);
        c = walk_peek(w);
        if (c == ',') {
            w->p++;
            if (in_object)
                name_walk(w, n);
            return;
        }
        if (c != (in_object ? '}' : ']')) {
            walk_fail(w, LK_ERR_MALFORMED);
            return;
        }
        w->p++;
        level_close(w, n);
    }
}

/* Move behind one value, checked whole. Not recursive: depth costs a level. */
static void
value_walk(struct walk *w, size_t depth)
{
    struct nest n;

    n.inner = n.forgotten = n.count = 0;
    do {
        uint8_t c;

        w->p = space_end(w->p, w->end);
        c = walk_peek(w);
        if (c == '{' || c == '[') {
            level_open(w, &n, depth);
            if (walk_peek(w) != (c == '{' ? '}' : ']')) {
                if (c == '{')
                    name_walk(w, &n);
                continue;
            }
        } else {
            scalar_walk(w);
        }
        separator_walk(w, &n);
    } while (n.inner > 0 && w->err == LK_OK);
}

/* Walk to the value of a member. */
static bool
member_find(struct walk *w, struct lk_span name)
{
    bool found = false;

    w->p = space_end(w->p, w->end);
    if (walk_peek(w) != '{' || !members_begin(w))
        return false;
    do {
        const uint8_t *at = w->p + 1;

        (void)string_walk(w);
        found = w->err == LK_OK && string_is(at, w->end, name);
        colon_walk(w);
        w->p = space_end(w->p, w->end);
        if (!found)
            value_walk(w, 1);
    } while (w->err == LK_OK && !found && members_continue(w));
    return found && w->err == LK_OK;
}

bool
lk_json_has_member(struct lk_span object, struct lk_span name)
{
    struct walk w;

    if (object.len == 0)
        return false;
    w = (struct walk){object.ptr, object.ptr + object.len, LK_OK};
    return member_find(&w, name);
}

bool
lk_json_find_raw(struct lk_span object, struct lk_span name, struct lk_span *value)
{
    const uint8_t *start;
    struct walk w;

    *value = (struct lk_span){NULL, 0};
    if (object.len == 0)
        return false;
    w = (struct walk){object.ptr, object.ptr + object.len, LK_OK};
    if (!member_find(&w, name))
        return false;
    start = w.p;
    value_walk(&w, 1);
    if (w.err != LK_OK)
        return false;
    *value = lk_span_of(start, (size_t)(w.p - start));
    return true;
}

bool
lk_json_find_text(struct lk_span object, struct lk_span name, struct lk_buf room,
                  struct lk_span *value)
{
    struct walk w;
    struct bytes b;
    uint8_t byte;
    size_t len = 0;

    *value = (struct lk_span){NULL, 0};
    if (object.len == 0)
        return false;
    w = (struct walk){object.ptr, object.ptr + object.len, LK_OK};
    if (!member_find(&w, name) || walk_peek(&w) != '"')
        return false;
    b = (struct bytes){.w = {w.p + 1, w.end, LK_OK}};
    while (bytes_next(&b, &byte)) {
        if (len == room.cap)
            return false;
        room.ptr[len++] = byte;
    }
    if (b.w.err != LK_OK)
        return false;
    *value = lk_span_of(room.ptr, len);
    return true;
}

/* Part two: the reader. */

_Static_assert(LK_DEPTH_MAX <= 32, "what is known of a container has a bit in a uint32_t");

/* A walk from the next value on. */
static inline struct walk
value_begin(struct lk_json *r)
{
    struct walk w = {r->pos, r->end, r->err};

    if (r->err != LK_OK)
        return w;
    w.p = space_end(w.p, w.end);
    (void)walk_peek(&w);
    return w;
}

/* Take over where a walk has come to, or its error. */
static inline bool
value_end(struct lk_json *r, const struct walk *w)
{
    if (w->err != LK_OK) {
        lk_json_fail(r, w->err);
        return false;
    }
    r->pos += w->p - r->pos;
    return true;
}

void
lk_json_open(struct lk_json *r, uint8_t *text, size_t len)
{
    static uint8_t nothing[1];

    *r = (struct lk_json){.err = LK_OK};
    r->pos = text == NULL ? nothing : text;
    r->end = r->pos + (text == NULL ? 0 : len);
    r->known = r->pos;
}

enum lk_err
lk_json_close(struct lk_json *r)
{
    if (r->err != LK_OK)
        return r->err;
    if (r->depth > 0)
        lk_json_fail(r, LK_ERR_STATE);
    else if (space_end(r->pos, r->end) != r->end)
        lk_json_fail(r, LK_ERR_TRAILING);
    return r->err;
}

enum lk_json_type
lk_json_peek(struct lk_json *r)
{
    const uint8_t *p;

    if (r->err != LK_OK)
        return LK_JSON_END;
    p = space_end(r->pos, r->end);
    if (p == r->end || *p == '}' || *p == ']')
        return LK_JSON_END;
    switch (*p) {
    case '{':
        return LK_JSON_OBJECT;
    case '[':
        return LK_JSON_ARRAY;
    case '"':
        return LK_JSON_STRING;
    case 't':
    case 'f':
        return LK_JSON_BOOL;
    case 'n':
        return LK_JSON_NULL;
    default:
        break;
    }
    if (*p == '-' || is_digit(*p))
        return LK_JSON_NUMBER;
    lk_json_fail(r, LK_ERR_MALFORMED);
    return LK_JSON_END;
}

/* Write what a checked string stands for over its text, never faster than reading it. */
static struct lk_span
unescape(uint8_t *text, const uint8_t *end)
{
    struct walk w = {text, end, LK_OK};
    uint8_t out[4];
    size_t len = 0, step;

    while ((step = string_step(&w, out)) > 0) {
        memcpy(text + len, out, step);
        len += step;
    }
    return lk_span_of(text, len);
}

/* The string at which the walk stands. The text is the caller's, lent to us through the reader. */
static struct lk_span
any_string_take(struct lk_json *r, struct walk *w)
{
    const uint8_t *start = w->p + 1;
    bool escaped = string_walk(w);

    if (w->err != LK_OK)
        return (struct lk_span){NULL, 0};
    if (escaped)
        return unescape(r->pos + (start - r->pos), w->p);
    return lk_span_of(start, (size_t)(w->p - start) - 1);
}

static struct lk_span
any_string_read(struct lk_json *r)
{
    struct walk w = value_begin(r);
    struct lk_span text = any_string_take(r, &w);

    (void)value_end(r, &w);
    return text;
}

struct lk_span
lk_json_string(struct lk_json *r)
{
    const uint8_t *start, *quote;

    /* Nearly always there is no space before it and nothing to unescape or to refuse. */
    if (r->err != LK_OK || r->pos == r->end || *r->pos != '"')
        return any_string_read(r);
    start = r->pos + 1;
    quote = plain_string_end(start, r->end);
    if (quote == NULL)
        return any_string_read(r);
    r->pos += quote + 1 - r->pos;
    return lk_span_of(start, (size_t)(quote - start));
}

/* A number's text, checked. */
static struct lk_span
number_read(struct lk_json *r)
{
    struct walk w = value_begin(r);
    const uint8_t *start = w.p;

    if (w.err == LK_OK && *w.p != '-' && !is_digit(*w.p))
        walk_fail_type(&w);
    if (w.err == LK_OK)
        number_walk(&w);
    if (!value_end(r, &w))
        return (struct lk_span){NULL, 0};
    return lk_span_of(start, (size_t)(w.p - start));
}

/* Nearly all numbers: a few digits, and neither a sign nor a fraction or an exponent. If it is none
 * of these, or the end of the text is near, nothing has happened. */
static inline bool
plain_number_read(struct lk_json *r, int64_t *value)
{
    const uint8_t *p = r->pos;
    int64_t sum = 0;
    size_t len;

    if (r->err != LK_OK || r->end - p <= INT_DIGITS)
        return false;
    for (len = 0; len < INT_DIGITS && is_digit(p[len]); len++)
        sum = sum * 10 + (p[len] - '0');
    /* RFC 8259 section 6: no leading zeros. */
    if (len == 0 || (len > 1 && p[0] == '0'))
        return false;
    if (is_digit(p[len]) || p[len] == '.' || (p[len] | 0x20) == 'e')
        return false;
    r->pos += len;
    *value = sum;
    return true;
}

static int64_t
any_int_read(struct lk_json *r)
{
    struct lk_span text = number_read(r);
    bool negative = text.len > 0 && text.ptr[0] == '-';
    int64_t value = 0;

    for (size_t i = negative ? 1 : 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i])) {
            lk_json_fail(r, LK_ERR_RANGE);
            return 0;
        }
        value = value * 10 + (text.ptr[i] - '0');
        if (value > INT_MAX_EXACT) {
            lk_json_fail(r, LK_ERR_RANGE);
            return 0;
        }
    }
    return negative ? -value : value;
}

int64_t
lk_json_int(struct lk_json *r)
{
    int64_t value;

    return plain_number_read(r, &value) ? value : any_int_read(r);
}

/* The exponent of a checked number, cut off where no number within 2^53 needs it. */
static int32_t
number_exponent(struct lk_span text)
{
    int32_t value = 0;
    size_t i = 0;
    bool negative = false;

    while (i < text.len && (text.ptr[i] | 0x20) != 'e')
        i++;
    for (i++; i < text.len; i++) {
        if (text.ptr[i] == '-')
            negative = true;
        else if (is_digit(text.ptr[i]) && value < 100000)
            value = value * 10 + (text.ptr[i] - '0');
    }
    return negative ? -value : value;
}

static int64_t
any_date_read(struct lk_json *r)
{
    struct lk_span text = number_read(r);
    int32_t shift = number_exponent(text);
    bool negative = text.len > 0 && text.ptr[0] == '-';
    bool in_fraction = false, is_zero = true;
    int64_t value = 0;
    size_t i;

    /* shift counts the whole digits still due: those before the point, and the exponent. */
    for (i = 0; i < text.len && text.ptr[i] != '.' && (text.ptr[i] | 0x20) != 'e'; i++)
        if (is_digit(text.ptr[i]))
            shift++;
    for (i = 0; i < text.len && (text.ptr[i] | 0x20) != 'e'; i++) {
        uint8_t c = text.ptr[i];

        if (!is_digit(c))
            continue;
        is_zero = is_zero && c == '0';
        in_fraction = in_fraction || shift <= 0;
        if (in_fraction)
            continue;
        value = value * 10 + (c - '0');
        shift--;
        if (value > INT_MAX_EXACT)
            break;
    }
    for (; shift > 0 && value > 0 && value <= INT_MAX_EXACT; shift--)
        value *= 10;
    if (value > INT_MAX_EXACT || (negative && !is_zero)) {
        lk_json_fail(r, LK_ERR_RANGE);
        return 0;
    }
    return value;
}

int64_t
lk_json_numeric_date(struct lk_json *r)
{
    int64_t value;

    return plain_number_read(r, &value) ? value : any_date_read(r);
}

/* One of two words; which is seen from its first letter. */
static bool
word_read(struct lk_json *r, const char *first, const char *second)
{
    struct walk w = value_begin(r);
    bool is_first = w.err == LK_OK && *w.p == (uint8_t)first[0];

    if (w.err == LK_OK && !is_first && *w.p != (uint8_t)second[0])
        walk_fail_type(&w);
    word_walk(&w, is_first ? first : second);
    return value_end(r, &w) && is_first;
}

bool
lk_json_bool(struct lk_json *r)
{
    return word_read(r, "true", "false");
}

void
lk_json_null(struct lk_json *r)
{
    (void)word_read(r, "null", "null");
}

void
lk_json_skip(struct lk_json *r)
{
    (void)lk_json_raw(r);
}

/* Move behind a value; what was checked when an object around it was entered, need not be again. */
static void
value_pass(struct lk_json *r, struct walk *w)
{
    if (w->p < r->known)
        known_walk(w);
    else
        value_walk(w, r->depth);
}

struct lk_span
lk_json_raw(struct lk_json *r)
{
    struct walk w = value_begin(r);
    const uint8_t *start = w.p;

    if (w.err == LK_OK)
        value_pass(r, &w);
    if (!value_end(r, &w))
        return (struct lk_span){NULL, 0};
    return lk_span_of(start, (size_t)(w.p - start));
}

/* Step behind an opening bracket. */
static void
container_enter(struct lk_json *r, uint8_t bracket, bool check)
{
    struct walk w = value_begin(r), whole;

    if (w.err == LK_OK && *w.p != bracket)
        walk_fail(&w, LK_ERR_TYPE);
    if (r->depth >= LK_DEPTH_MAX)
        walk_fail(&w, LK_ERR_DEPTH);
    if (w.err == LK_OK && check && w.p >= r->known) {
        whole = w;
        value_walk(&whole, r->depth);
        w.err = whole.err;
        r->known = whole.p;
    }
    if (w.err == LK_OK)
        w.p++;
    if (!value_end(r, &w))
        return;
    r->in_object = r->in_object << 1 | (bracket == '{');
    r->started <<= 1;
    r->depth++;
}

/* Step behind a closing bracket. */
static void
container_leave(struct lk_json *r, uint8_t bracket)
{
    struct walk w = value_begin(r);

    if (w.err == LK_OK && *w.p != bracket)
        walk_fail(&w, LK_ERR_MALFORMED);
    if (w.err == LK_OK)
        w.p++;
    if (!value_end(r, &w))
        return;
    r->in_object >>= 1;
    r->started >>= 1;
    r->depth--;
}

/* Is there one more in the container of this kind? Steps over the comma. */
static inline bool
container_next(struct lk_json *r, struct walk *w, bool in_object)
{
    uint8_t bracket = in_object ? '}' : ']';

    if (w->err == LK_OK && (r->depth == 0 || (r->in_object & 1) != in_object))
        walk_fail(w, LK_ERR_STATE);
    if (w->err != LK_OK || *w->p == bracket)
        return false;
    if ((r->started & 1) != 0) {
        if (*w->p != ',')
            walk_fail(w, LK_ERR_MALFORMED);
        else
            w->p = space_end(w->p + 1, w->end);
        if (walk_peek(w) == bracket)
            walk_fail(w, LK_ERR_MALFORMED);
    }
    r->started |= 1;
    return w->err == LK_OK;
}

void
lk_json_enter_object(struct lk_json *r)
{
    container_enter(r, '{', true);
}

void
lk_json_enter_members(struct lk_json *r, struct lk_json_members *m)
{
    m->known = m->count = 0;
    m->other_count = 0;
    container_enter(r, '{', false);
}

static bool
any_member_next(struct lk_json *r, struct lk_span *name)
{
    struct walk w = value_begin(r);

    *name = (struct lk_span){NULL, 0};
    if (container_next(r, &w, true)) {
        if (*w.p != '"')
            walk_fail(&w, LK_ERR_MALFORMED);
        *name = any_string_take(r, &w);
        colon_walk(&w);
        if (w.err != LK_OK)
            *name = (struct lk_span){NULL, 0};
    }
    return value_end(r, &w) && name->ptr != NULL;
}

bool
lk_json_next_member(struct lk_json *r, struct lk_span *name)
{
    const uint8_t *p = r->pos, *quote;

    /* As it is written nearly always: ,"name": without spaces and escapes. */
    if (r->err != LK_OK || (r->in_object & 1) == 0 || p == r->end)
        return any_member_next(r, name);
    if (*p == '}') {
        *name = (struct lk_span){NULL, 0};
        return false;
    }
    if ((r->started & 1) != 0 && *p++ != ',')
        return any_member_next(r, name);
    if (p == r->end || *p++ != '"')
        return any_member_next(r, name);
    quote = plain_string_end(p, r->end);
    if (quote == NULL || r->end - quote < 2 || quote[1] != ':')
        return any_member_next(r, name);
    *name = lk_span_of(p, (size_t)(quote - p));
    r->started |= 1;
    r->pos += quote + 2 - r->pos;
    return true;
}

void
lk_json_members_add(struct lk_json *r, struct lk_json_members *m, struct lk_span name)
{
    for (size_t i = 0; i < m->other_count; i++) {
        if (lk_span_equal(m->others[i], name)) {
            lk_json_fail(r, LK_ERR_DUPLICATE);
            return;
        }
    }
    m->others[m->other_count++] = name;
}

void
lk_json_leave_object(struct lk_json *r)
{
    struct lk_span name;

    while (lk_json_next_member(r, &name))
        lk_json_skip(r);
    container_leave(r, '}');
}

void
lk_json_enter_array(struct lk_json *r)
{
    container_enter(r, '[', false);
}

bool
lk_json_next_item(struct lk_json *r)
{
    struct walk w = value_begin(r);
    bool more = container_next(r, &w, false);

    return value_end(r, &w) && more;
}

void
lk_json_leave_array(struct lk_json *r)
{
    while (lk_json_next_item(r))
        lk_json_skip(r);
    container_leave(r, ']');
}

/* Part three: the writer. */

static void
put(struct lk_json_out *w, struct lk_span text)
{
    if (w->err != LK_OK)
        return;
    if (text.len > w->room.cap - w->len) {
        w->err = LK_ERR_NO_SPACE;
        return;
    }
    if (text.len > 0)
        memcpy(w->room.ptr + w->len, text.ptr, text.len);
    w->len += text.len;
}

/* Before a value or a name. */
static void
put_comma(struct lk_json_out *w)
{
    if (w->comma)
        put(w, LK_SPAN(","));
    w->comma = true;
}

static bool
has_nul(struct lk_span text)
{
    return text.len > 0 && memchr(text.ptr, 0, text.len) != NULL;
}

static void
put_quoted(struct lk_json_out *w, struct lk_span text)
{
    static const char hex[] = "0123456789abcdef";

    /* NUL is valid UTF-8, but our own reader takes it from nobody. */
    if (w->err == LK_OK && (!lk_utf8_is_valid(text) || has_nul(text)))
        w->err = LK_ERR_UTF8;
    put(w, LK_SPAN("\""));
    for (size_t i = 0; i < text.len && w->err == LK_OK; i++) {
        uint8_t c = text.ptr[i];
        uint8_t escape[6] = {'\\', 'u', '0', '0', (uint8_t)hex[c >> 4], (uint8_t)hex[c & 15]};

        if (c == '"' || c == '\\') {
            escape[1] = c;
            put(w, lk_span_of(escape, 2));
        } else if (c < 0x20) {
            put(w, lk_span_of(escape, sizeof(escape)));
        } else {
            put(w, lk_span_of(&c, 1));
        }
    }
    put(w, LK_SPAN("\""));
}

void
lk_json_write_open(struct lk_json_out *w, struct lk_buf room)
{
    *w = (struct lk_json_out){.err = LK_OK, .room = room};
}

static void
put_bracket(struct lk_json_out *w, const char *bracket, bool opens)
{
    if (opens)
        put_comma(w);
    put(w, lk_span_text(bracket));
    w->comma = !opens;
}

void
lk_json_write_object(struct lk_json_out *w)
{
    put_bracket(w, "{", true);
}

void
lk_json_write_object_end(struct lk_json_out *w)
{
    put_bracket(w, "}", false);
}

void
lk_json_write_array(struct lk_json_out *w)
{
    put_bracket(w, "[", true);
}

void
lk_json_write_array_end(struct lk_json_out *w)
{
    put_bracket(w, "]", false);
}

void
lk_json_write_name(struct lk_json_out *w, const char *name)
{
    put_comma(w);
    put_quoted(w, lk_span_text(name));
    put(w, LK_SPAN(":"));
    w->comma = false;
}

void
lk_json_write_string(struct lk_json_out *w, struct lk_span text)
{
    put_comma(w);
    put_quoted(w, text);
}

void
lk_json_write_base64url(struct lk_json_out *w, struct lk_span bytes)
{
    struct lk_span text;

    put_comma(w);
    put(w, LK_SPAN("\""));
    if (w->err == LK_OK) {
        struct lk_buf room = {w->room.ptr + w->len, w->room.cap - w->len};

        w->err = lk_base64url_encode(bytes, room, &text);
        w->len += text.len;
    }
    put(w, LK_SPAN("\""));
}

void
lk_json_write_int(struct lk_json_out *w, int64_t value)
{
    uint64_t rest = value < 0 ? (uint64_t)(-(value + 1)) + 1 : (uint64_t)value;
    uint8_t text[20];
    size_t at = sizeof(text);

    do {
        text[--at] = (uint8_t)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        text[--at] = '-';
    put_comma(w);
    put(w, lk_span_of(text + at, sizeof(text) - at));
}

void
lk_json_write_bool(struct lk_json_out *w, bool value)
{
    lk_json_write_raw(w, value ? LK_SPAN("true") : LK_SPAN("false"));
}

void
lk_json_write_raw(struct lk_json_out *w, struct lk_span value)
{
    put_comma(w);
    put(w, value);
}

enum lk_err
lk_json_write_close(struct lk_json_out *w, struct lk_span *out)
{
    *out = (struct lk_span){NULL, 0};
    if (w->err == LK_OK)
        *out = lk_span_of(w->room.ptr, w->len);
    return w->err;
}
