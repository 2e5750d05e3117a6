/*
 * Random documents whose meaning is known: read, skipped and refused as they must be.
 */
#include <stdio.h>
#include <string.h>

#include <latchkey/json.h>

#include "cmocka_all.h"
#include "guard.h"
#include "json_random.h"

/* What a reader must find, in order. */
struct event {
    enum lk_json_type type;   /* LK_JSON_END: a container ends */
    bool in_object;           /* a name comes before it */
    size_t name_at, name_len; /* in `meaning` */
    size_t at, len;           /* of a string, in `meaning` */
    size_t raw_at, raw_len;   /* in `text` */
    size_t end;               /* of a container: the event that ends it */
    int64_t value;
};

struct document {
    struct text text, meaning;
    struct event events[2048];
    size_t count;
    size_t spaces, escapes; /* one in so many; 0: none */
    size_t depth_max;
    size_t objects;    /* written */
    size_t duplicates; /* the object that gets a name twice, counted from 1; 0: none */
    bool planted;
};

static struct document doc;
static struct guard guard;

static struct event *
event_new(enum lk_json_type type)
{
    if (doc.count == sizeof(doc.events) / sizeof(doc.events[0]))
        abort();
    doc.events[doc.count] = (struct event){.type = type, .raw_at = doc.text.len};
    return &doc.events[doc.count++];
}

/* A name that is unique in its object, for its number is in it. */
static void
name_write(struct event *event, size_t number)
{
    char digits[24];

    event->in_object = true;
    event->name_at = doc.meaning.len;
    snprintf(digits, sizeof(digits), "%zu", number);
    text_puts(&doc.text, "\"");
    for (const char *c = digits; *c != '\0'; c++)
        text_put_character(&doc.text, lk_span_of(c, 1), (uint32_t)*c, doc.escapes);
    text_puts(&doc.meaning, digits);
    if (number % 2 == 0) {
        size_t quote = doc.text.len;

        /* A random string behind it, without its opening quote. */
        text_put_random(&doc.text, &doc.meaning, 12, doc.escapes);
        memmove(doc.text.bytes + quote, doc.text.bytes + quote + 1, doc.text.len - quote - 1);
        doc.text.len--;
    } else {
        text_puts(&doc.text, "\"");
    }
    event->name_len = doc.meaning.len - event->name_at;
    text_put_space(&doc.text, doc.spaces);
    text_puts(&doc.text, ":");
    text_put_space(&doc.text, doc.spaces);
}

static void value_write(size_t event, size_t depth);

/* Plant the name of a member a second time, written anew. */
static void
duplicate_write(const struct event *member)
{
    struct lk_span name = lk_span_of(doc.meaning.bytes + member->name_at, member->name_len);

    text_puts(&doc.text, ",\"");
    for (size_t i = 0; i < name.len;) {
        uint8_t c = name.ptr[i];
        size_t len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
        uint32_t point = len == 1 ? c : c & (0xffu >> (len + 1));

        for (size_t k = 1; k < len; k++)
            point = point << 6 | (name.ptr[i + k] & 0x3f);
        text_put_character(&doc.text, lk_span_of(name.ptr + i, len), point, 2);
        i += len;
    }
    text_puts(&doc.text, "\":0");
    doc.planted = true;
}

static void
container_write(size_t event, size_t depth)
{
    bool in_object = doc.events[event].type == LK_JSON_OBJECT;
    size_t members = random_below(7), object = in_object ? ++doc.objects : 0, first = 0;

    text_puts(&doc.text, in_object ? "{" : "[");
    text_put_space(&doc.text, doc.spaces);
    for (size_t i = 0; i < members; i++) {
        size_t member = (size_t)(event_new(LK_JSON_NULL) - doc.events);

        first = i == 0 ? member : first;
        text_puts(&doc.text, i == 0 ? "" : ",");
        text_put_space(&doc.text, doc.spaces);
        if (in_object)
            name_write(&doc.events[member], i);
        value_write(member, depth);
        text_put_space(&doc.text, doc.spaces);
    }
    if (object != 0 && object == doc.duplicates && members > 0)
        duplicate_write(&doc.events[first]);
    text_puts(&doc.text, in_object ? "}" : "]");
    doc.events[event].end = (size_t)(event_new(LK_JSON_END) - doc.events);
}

static void
number_write(struct event *event)
{
    size_t digits = 1 + random_below(15);
    char text[24];

    for (size_t i = 0; i < digits; i++)
        event->value = event->value * 10 + (int64_t)random_below(10);
    if (random_below(4) == 0)
        event->value = -event->value;
    snprintf(text, sizeof(text), "%lld", (long long)event->value);
    text_puts(&doc.text, text);
}

/* The event is there already, with its name; it becomes one of a random type. */
static void
value_write(size_t event, size_t depth)
{
    struct event *e = &doc.events[event];

    /* LK_JSON_NULL is the last of the types a value has. */
    e->type =
        depth == doc.depth_max ? LK_JSON_STRING : (enum lk_json_type)random_below(LK_JSON_NULL + 1);
    e->raw_at = doc.text.len;
    switch (e->type) {
    case LK_JSON_OBJECT:
    case LK_JSON_ARRAY:
        container_write(event, depth + 1);
        break;
    case LK_JSON_STRING:
        e->at = doc.meaning.len;
        text_put_random(&doc.text, &doc.meaning, 40, doc.escapes);
        e->len = doc.meaning.len - e->at;
        break;
    case LK_JSON_NUMBER:
        number_write(e);
        break;
    case LK_JSON_BOOL:
        e->value = random_below(2) == 0;
        text_puts(&doc.text, e->value ? "true" : "false");
        break;
    case LK_JSON_NULL:
    case LK_JSON_END:
        text_puts(&doc.text, "null");
        break;
    }
    doc.events[event].raw_len = doc.text.len - doc.events[event].raw_at;
}

static void
document_write(size_t duplicates)
{
    doc.text.len = doc.meaning.len = doc.count = doc.objects = 0;
    doc.spaces = random_below(4);
    doc.escapes = random_below(6);
    doc.spaces = doc.spaces == 1 ? 8 : doc.spaces;
    doc.depth_max = 1 + random_below(6);
    doc.duplicates = duplicates;
    doc.planted = false;
    event_new(LK_JSON_OBJECT);
    container_write(0, 1);
    doc.events[0].raw_len = doc.text.len;
    text_put_space(&doc.text, doc.spaces);
}

static struct lk_json
document_open(void)
{
    struct lk_json r;

    lk_json_open(&r, guard_put(&guard, doc.text.bytes, doc.text.len), doc.text.len);
    return r;
}

static void
name_check(struct lk_json *r, const struct event *e)
{
    struct lk_span name;

    if (!e->in_object) {
        assert_true(lk_json_next_item(r));
        return;
    }
    assert_true(lk_json_next_member(r, &name));
    assert_true(lk_span_equal(name, lk_span_of(doc.meaning.bytes + e->name_at, e->name_len)));
}

/* Read the value of an event, or pass over it; returns the next event. */
static size_t
value_check(struct lk_json *r, size_t event, bool *in_object, size_t *depth)
{
    const struct event *e = &doc.events[event];
    bool container = e->type == LK_JSON_OBJECT || e->type == LK_JSON_ARRAY;

    assert_int_equal(lk_json_peek(r), e->type);
    if (event > 0 && random_below(8) == 0) {
        struct lk_span raw = lk_json_raw(r);

        assert_true(lk_span_equal(raw, lk_span_of(doc.text.bytes + e->raw_at, e->raw_len)));
        return container ? e->end + 1 : event + 1;
    }
    if (e->type == LK_JSON_OBJECT)
        lk_json_enter_object(r);
    else if (e->type == LK_JSON_ARRAY)
        lk_json_enter_array(r);
    else if (e->type == LK_JSON_STRING)
        assert_true(
            lk_span_equal(lk_json_string(r), lk_span_of(doc.meaning.bytes + e->at, e->len)));
    else if (e->type == LK_JSON_NUMBER)
        assert_int_equal(lk_json_int(r), e->value);
    else if (e->type == LK_JSON_BOOL)
        assert_int_equal(lk_json_bool(r), e->value);
    else
        lk_json_null(r);
    if (container)
        in_object[(*depth)++] = e->type == LK_JSON_OBJECT;
    return event + 1;
}

static void
document_check(void)
{
    bool in_object[LK_DEPTH_MAX + 1];
    struct lk_json r = document_open();
    size_t depth = 0;

    for (size_t i = 0; i < doc.count;) {
        const struct event *e = &doc.events[i];

        if (e->type == LK_JSON_END) {
            if (in_object[--depth])
                lk_json_leave_object(&r);
            else
                lk_json_leave_array(&r);
            i++;
            continue;
        }
        if (i > 0)
            name_check(&r, e);
        i = value_check(&r, i, in_object, &depth);
    }
    assert_err("walked", lk_json_close(&r), LK_OK);
}

static enum lk_err
document_skip(void)
{
    struct lk_json r = document_open();

    lk_json_skip(&r);
    return lk_json_close(&r);
}

static enum lk_err
document_enter(void)
{
    struct lk_json r = document_open();

    lk_json_enter_object(&r);
    return r.err;
}

static void
documents_are_read_as_they_were_meant(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        document_write(0);
        document_check();
        assert_err("skipped", document_skip(), LK_OK);
    }
}

static void
a_name_twice_is_refused_in_any_object(void **state)
{
    unsigned planted = 0;

    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        document_write(1 + random_below(1 + random_below(12)));
        planted += doc.planted;
        assert_err("skipped", document_skip(), doc.planted ? LK_ERR_DUPLICATE : LK_OK);
        assert_err("entered", document_enter(), doc.planted ? LK_ERR_DUPLICATE : LK_OK);
    }
    assert_true(planted > 1000);
}

/* Objects in objects, each with members in front of the inner one and behind it. All together they
 * have more names than the reader remembers at a time. */
static void
nest_write(size_t depth, size_t before, size_t behind, size_t bad_depth, size_t first,
           size_t second)
{
    char member[64];

    doc.text.len = 0;
    for (size_t level = 1; level <= depth; level++) {
        text_puts(&doc.text, "{");
        for (size_t i = 0; i < before; i++) {
            snprintf(member, sizeof(member), "\"m%zu\":[%zu],",
                     level == bad_depth && i == second ? first : i, i);
            text_puts(&doc.text, member);
        }
        text_puts(&doc.text, "\"inner\":");
    }
    text_puts(&doc.text, "\"\\n\"");
    for (size_t level = depth; level >= 1; level--) {
        for (size_t i = before; i < before + behind; i++) {
            snprintf(member, sizeof(member), ",\"m%zu\":%zu",
                     level == bad_depth && i == second ? first : i, i);
            text_puts(&doc.text, member);
        }
        text_puts(&doc.text, "}");
    }
}

static void
names_are_told_apart_however_many_there_are(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        size_t depth = 1 + random_below(LK_DEPTH_MAX - 1);
        size_t before = random_below(LK_MEMBERS_MAX);
        size_t behind = random_below(LK_MEMBERS_MAX - before);
        size_t count = before + behind, bad = 0, first = 0, second = 0;

        if (count >= 2 && random_below(4) > 0) {
            bad = 1 + random_below(depth);
            second = 1 + random_below(count - 1);
            first = random_below(second);
        }
        nest_write(depth, before, behind, bad, first, second);
        assert_err("skipped", document_skip(), bad > 0 ? LK_ERR_DUPLICATE : LK_OK);
        assert_err("entered", document_enter(), bad > 0 ? LK_ERR_DUPLICATE : LK_OK);
    }
    /* The largest there is, and with one member more. */
    nest_write(LK_DEPTH_MAX - 1, 40, LK_MEMBERS_MAX - 41, 0, 0, 0);
    assert_err("all full", document_skip(), LK_OK);
    nest_write(LK_DEPTH_MAX - 1, LK_MEMBERS_MAX, 0, 0, 0, 0);
    assert_err("one too many in front", document_skip(), LK_ERR_LIMIT);
    nest_write(LK_DEPTH_MAX - 1, 40, LK_MEMBERS_MAX - 40, 0, 0, 0);
    assert_err("one too many behind", document_skip(), LK_ERR_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_read_as_they_were_meant),
        cmocka_unit_test(a_name_twice_is_refused_in_any_object),
        cmocka_unit_test(names_are_told_apart_however_many_there_are),
    };

    guard = guard_open(sizeof(doc.text.bytes));
    return cmocka_run_group_tests_name("json_random", tests, NULL, NULL);
}
