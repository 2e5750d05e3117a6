/*
 * JSON bodies: read with limits, members taken one by one, everything that is left over refused.
 */
#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "problem.h"

/* --- Memory: bodies may hold secrets, so what jansson frees is wiped ----------------------------
 */

#define HEAD 16 /* keeps the alignment malloc promises */

static void *
wiping_malloc(size_t size)
{
    unsigned char *block = size > SIZE_MAX - HEAD ? NULL : malloc(size + HEAD);

    if (block == NULL)
        return NULL;
    memcpy(block, &size, sizeof(size));
    return block + HEAD;
}

static void
wiping_free(void *ptr)
{
    unsigned char *block;
    size_t size;

    if (ptr == NULL)
        return;
    block = (unsigned char *)ptr - HEAD;
    memcpy(&size, block, sizeof(size));
    lk_wipe(block, size + HEAD);
    free(block);
}

void
json_setup(void)
{
    json_set_alloc_funcs(wiping_malloc, wiping_free);
    json_object_seed(0); /* once, before there are threads */
}

/* --- Reading
 * ---------------------------------------------------------------------------------------- */

/** jansson recurses; look at the depth before it does. Strings are skipped, brackets counted. */
static bool
depth_is_fine(struct lk_span text)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            depth++;
        else if (!in_string && (c == '}' || c == ']') && depth > 0)
            depth--;
        if (depth > HTTP_JSON_DEPTH_MAX)
            return false;
    }
    return true;
}

json_t *
json_body_read(struct lk_span text, const char **why)
{
    json_error_t error;
    json_t *body;

    *why = "nested too deeply";
    if (!depth_is_fine(text))
        return NULL;
    body = json_loadb((const char *)text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    *why = "the body is not JSON as RFC 8259 has it, or a name appears twice in an object";
    if (body == NULL)
        return NULL;
    *why = "the body must be an object";
    if (!json_is_object(body)) {
        json_decref(body);
        return NULL;
    }
    return body;
}

/* --- Members
 * ------------------------------------------------------------------------------------------ */

void
json_take_open(struct json_take *take, struct http_call *call)
{
    memset(take, 0, sizeof(*take));
    take->call = call;
}

void
json_take_refuse(struct json_take *take, const char *pointer, const char *detail)
{
    if (take->error_count == HTTP_ERRORS_MAX)
        return;
    snprintf(take->error[take->error_count].pointer, sizeof(take->error[0].pointer), "%s", pointer);
    take->error[take->error_count++].detail = detail;
}

static void
refuse_member(struct json_take *take, const char *name, const char *detail)
{
    char pointer[80];

    snprintf(pointer, sizeof(pointer), "/%s", name);
    json_take_refuse(take, pointer, detail);
}

json_t *
json_take_any(struct json_take *take, const char *name)
{
    if (take->count < sizeof(take->names) / sizeof(take->names[0]))
        take->names[take->count++] = name;
    return json_object_get(take->call->body, name);
}

static bool
has_control(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    return false;
}

struct lk_span
json_take_text(struct json_take *take, const char *name, size_t least, size_t most, bool required)
{
    const json_t *value = json_take_any(take, name);
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);

    if (value == NULL && required)
        refuse_member(take, name, "is required");
    else if (value != NULL && text == NULL)
        refuse_member(take, name, "must be a text");
    else if (text != NULL && (len < least || len > most))
        refuse_member(take, name, len < least ? "is too short" : "is too long");
    else if (text != NULL && has_control(text, len))
        refuse_member(take, name, "must not contain control characters");
    else if (text != NULL)
        return lk_span_of(text, len);
    return (struct lk_span){NULL, 0};
}

int64_t
json_take_int(struct json_take *take, const char *name, int64_t if_absent, int64_t least,
              int64_t most)
{
    const json_t *value = json_take_any(take, name);

    if (value == NULL)
        return if_absent;
    if (!json_is_integer(value))
        refuse_member(take, name, "must be a whole number");
    else if (json_integer_value(value) < least || json_integer_value(value) > most)
        refuse_member(take, name, "is out of range");
    else
        return json_integer_value(value);
    return if_absent;
}

json_t *
json_take_array(struct json_take *take, const char *name, size_t most)
{
    json_t *value = json_take_any(take, name);

    if (value == NULL)
        return NULL;
    if (!json_is_array(value))
        refuse_member(take, name, "must be an array");
    else if (json_array_size(value) > most)
        refuse_member(take, name, "has too many entries");
    else
        return value;
    return NULL;
}

static bool
is_taken(const struct json_take *take, const char *name)
{
    for (size_t i = 0; i < take->count; i++)
        if (strcmp(take->names[i], name) == 0)
            return true;
    return false;
}

/** RFC 6901 section 3: "~" and "/" of a name are escaped in a pointer. */
static void
pointer_write(char *out, size_t size, const char *name)
{
    size_t used = 0;

    out[used++] = '/';
    for (; *name != '\0' && used + 3 < size; name++) {
        if (*name == '~' || *name == '/') {
            out[used++] = '~';
            out[used++] = *name == '~' ? '0' : '1';
        } else {
            out[used++] = *name;
        }
    }
    /* A name cut in the middle of a character must not make the answer invalid UTF-8. */
    while (used > 1 && *name != '\0' && !lk_utf8_is_valid(lk_span_of(out, used)))
        used--;
    out[used] = '\0';
}

bool
json_take_close(struct json_take *take)
{
    json_t *errors, *value;
    const char *name;
    char pointer[80];

    json_object_foreach (take->call->body, name, value) {
        if (is_taken(take, name))
            continue;
        pointer_write(pointer, sizeof(pointer), name);
        json_take_refuse(take, pointer, "is not known here");
    }
    if (take->error_count == 0)
        return true;
    errors = json_array();
    for (size_t i = 0; i < take->error_count; i++)
        json_array_append_new(errors, json_pack("{s:s, s:s}", "pointer", take->error[i].pointer,
                                                "detail", take->error[i].detail));
    problem_send(take->call, 400, "invalid_request", "the body is not what this path expects",
                 errors);
    return false;
}
