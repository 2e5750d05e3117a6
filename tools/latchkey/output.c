/*
 * output.c - answers for people (aligned lines and tables) and for programs (JSON).
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <latchkey/host/clock.h>

#define NAME_MAX_LEN 128 /* bytes of "outer.inner.member" */
#define CELL_MAX     256 /* bytes of a cell of a table */

void
out_json(const json_t *value)
{
    (void)json_dumpf(value, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    (void)putchar('\n');
}

/* Bytes of the character at the front if a terminal just shows it, else 0. */
static size_t
shown_len(const uint8_t *at, size_t left)
{
    size_t len = at[0] < 0x80 ? 1 : at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;

    if (at[0] < 0x20 || at[0] == 0x7f || len > left || !lk_utf8_is_valid(lk_span_of(at, len)))
        return 0;
    return at[0] == 0xc2 && at[1] < 0xa0 ? 0 : len; /* U+0080 to U+009F: control characters too */
}

/* As it will be shown, cut at cap; also counts the characters. */
static size_t
text_make_safe(const char *text, size_t len, char *room, size_t cap)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t to = 0, width = 0, n;

    while (len > 0 && to + 5 < cap) {
        n = shown_len(at, len);
        if (n > 0) {
            memcpy(room + to, at, n);
            to += n;
            width++;
        } else {
            to += (size_t)snprintf(room + to, cap - to, "\\x%02x", at[0]);
            width += 4;
            n = 1;
        }
        at += n;
        len -= n;
    }
    room[to] = '\0';
    return width;
}

void
out_text(const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text;
    size_t n;

    while (len > 0) {
        n = shown_len(at, len);
        if (n > 0)
            (void)fwrite(at, 1, n, stdout);
        else
            (void)printf("\\x%02x", at[0]);
        n = n > 0 ? n : 1;
        at += n;
        len -= n;
    }
}

void
out_duration(int64_t seconds, char *room, size_t cap)
{
    static const struct {
        int64_t seconds;
        const char *one, *many;
    } units[] = {{86400, "day", "days"}, {3600, "hour", "hours"}, {60, "minute", "minutes"}};
    size_t i;
    int64_t n;

    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        n = seconds / units[i].seconds;
        if (n >= 1) {
            (void)snprintf(room, cap, "%" PRId64 " %s", n, n == 1 ? units[i].one : units[i].many);
            return;
        }
    }
    (void)snprintf(room, cap, "%" PRId64 " second%s", seconds, seconds == 1 ? "" : "s");
}

void
out_time(int64_t at_s, int64_t now_s, char *room, size_t cap)
{
    time_t at = (time_t)at_s;
    struct tm utc;
    char stamp[40], away[40];

    if (at_s < 0 || at_s > INT64_C(253402300799) || gmtime_r(&at, &utc) == NULL) {
        (void)snprintf(room, cap, "%" PRId64 ", a time out of any calendar", at_s);
        return;
    }
    (void)strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S UTC", &utc);
    out_duration(at_s > now_s ? at_s - now_s : now_s - at_s, away, sizeof(away));
    if (at_s == now_s)
        (void)snprintf(room, cap, "%s, now", stamp);
    else
        (void)snprintf(room, cap, at_s > now_s ? "%s, in %s" : "%s, %s ago", stamp, away);
}

/* Members that hold seconds since 1970 by their name: registered_at, last_seen, since, exp ... */
static bool
is_time_name(const char *name)
{
    static const char *const ends[] = {"_at",   "_seen", "_until", "since", "exp",
                                       "until", "iat",   "nbf",    "ts",    "not_after"};
    const char *last = strrchr(name, '.');
    size_t i, len, end_len;

    last = last == NULL ? name : last + 1;
    len = strlen(last);
    for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        end_len = strlen(ends[i]);
        if (len >= end_len && strcmp(last + len - end_len, ends[i]) == 0 &&
            (ends[i][0] == '_' || len == end_len))
            return true;
    }
    return false;
}

static size_t
scalar_text(const char *name, const json_t *value, char *room, size_t cap)
{
    char text[64];

    if (json_is_string(value))
        return text_make_safe(json_string_value(value), json_string_length(value), room, cap);
    if (json_is_number(value) && is_time_name(name) && json_number_value(value) > 1e8 &&
        json_number_value(value) < 1e11)
        out_time((int64_t)json_number_value(value), lk_clock_wall_s(), text, sizeof(text));
    else if (json_is_integer(value))
        (void)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        (void)snprintf(text, sizeof(text), "%.10g", json_real_value(value));
    else if (json_is_boolean(value))
        (void)snprintf(text, sizeof(text), "%s", json_is_true(value) ? "yes" : "no");
    else
        (void)snprintf(text, sizeof(text), "-");
    return text_make_safe(text, strlen(text), room, cap);
}

/* A list of scalars on one line; a list of anything else as JSON. */
static void
array_print(const char *name, const json_t *array)
{
    char cell[CELL_MAX];
    const json_t *item;
    size_t i;
    char *text;

    if (json_array_size(array) == 0)
        (void)putchar('-');
    json_array_foreach (array, i, item) {
        if (i > 0)
            (void)fputs(", ", stdout);
        if (json_is_array(item) || json_is_object(item)) {
            text = json_dumps(item, JSON_COMPACT);
            if (text != NULL)
                out_text(text, strlen(text));
            json_text_free(text);
            continue;
        }
        (void)scalar_text(name, item, cell, sizeof(cell));
        (void)fputs(cell, stdout);
    }
}

static void
value_print(const char *name, const json_t *value)
{
    char cell[CELL_MAX];

    if (json_is_array(value))
        array_print(name, value);
    else if (json_is_string(value) && json_string_length(value) > 0)
        out_text(json_string_value(value), json_string_length(value));
    else if (json_is_string(value))
        (void)putchar('-');
    else if (scalar_text(name, value, cell, sizeof(cell)) > 0)
        (void)fputs(cell, stdout);
    (void)putchar('\n');
}

/* Walks the same members twice: first for the widest name, then to print. */
static size_t
lines_walk(const json_t *object, const char *prefix, size_t width, bool print, unsigned depth)
{
    char name[NAME_MAX_LEN], safe[NAME_MAX_LEN];
    const char *key;
    const json_t *value;
    size_t widest = 0, len;

    json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
        (void)snprintf(name, sizeof(name), "%s%s%s", prefix, prefix[0] != '\0' ? "." : "", key);
        if (json_is_object(value) && json_object_size(value) > 0 && depth < TEXT_DEPTH_MAX) {
            len = lines_walk(value, name, width, print, depth + 1);
        } else {
            len = text_make_safe(name, strlen(name), safe, sizeof(safe));
            if (print) {
                (void)printf("%s%*s", safe, (int)(width > len ? width - len : 0) + 2, "");
                value_print(name, value);
            }
        }
        widest = len > widest ? len : widest;
    }
    return widest;
}

void
out_lines(const json_t *object)
{
    size_t width = lines_walk(object, "", 0, false, 0);

    (void)lines_walk(object, "", width, true, 0);
}

/* A list of texts, with blanks between them. */
static size_t
list_text(const json_t *list, char *room, size_t cap)
{
    size_t width = 0, len = 0, i;
    const json_t *item;

    room[0] = '\0';
    json_array_foreach (list, i, item) {
        if (i > 0 && len + 2 < cap) {
            room[len++] = ' ';
            width++;
        }
        width += scalar_text("", item, room + len, cap - len);
        len = strlen(room);
    }
    return width;
}

static size_t
cell_text(const char *member, const json_t *row, char *room, size_t cap)
{
    const json_t *value = json_object_get(row, member);
    size_t width = 0;
    char *text;

    if (json_is_object(value)) {
        text = json_dumps(value, JSON_COMPACT);
        if (text != NULL)
            width = text_make_safe(text, strlen(text), room, cap);
        json_text_free(text);
    } else if (json_is_array(value)) {
        width = list_text(value, room, cap);
    } else if (value != NULL && !json_is_null(value)) {
        width = scalar_text(member, value, room, cap);
    }
    return width > 0 ? width : text_make_safe("-", 1, room, cap);
}

static bool
column_is_used(const json_t *rows, const char *member)
{
    const json_t *row, *value;
    size_t i;

    json_array_foreach (rows, i, row) {
        value = json_object_get(row, member);
        if (value != NULL && !json_is_null(value) &&
            !(json_is_string(value) && json_string_length(value) == 0) &&
            !(json_is_object(value) && json_object_size(value) == 0) &&
            !(json_is_array(value) && json_array_size(value) == 0))
            return true;
    }
    return false;
}

static void
cell_print(const char *text, size_t width, size_t column_width, bool last)
{
    (void)fputs(text, stdout);
    if (last)
        (void)putchar('\n');
    else
        (void)printf("%*s", (int)(column_width - width) + 2, "");
}

void
out_table(const json_t *rows, const struct out_column *columns, size_t count)
{
    struct out_column used[COLUMNS_MAX];
    size_t width[COLUMNS_MAX], used_count = 0, i, r, len;
    char cell[CELL_MAX];
    const json_t *row;

    for (i = 0; i < count && used_count < COLUMNS_MAX; i++) {
        if (column_is_used(rows, columns[i].member))
            used[used_count++] = columns[i];
    }
    for (i = 0; i < used_count; i++) {
        width[i] = strlen(used[i].title);
        json_array_foreach (rows, r, row) {
            len = cell_text(used[i].member, row, cell, sizeof(cell));
            width[i] = len > width[i] ? len : width[i];
        }
    }
    for (i = 0; i < used_count; i++)
        cell_print(used[i].title, strlen(used[i].title), width[i], i + 1 == used_count);
    json_array_foreach (rows, r, row) {
        for (i = 0; i < used_count; i++) {
            len = cell_text(used[i].member, row, cell, sizeof(cell));
            cell_print(cell, len, width[i], i + 1 == used_count);
        }
    }
}
