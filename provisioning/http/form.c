#include "form.h"

#include <string.h>

static int
hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

enum lk_err
form_decode(char *text, size_t len, bool plus, struct lk_span *out)
{
    size_t used = 0;

    *out = (struct lk_span){NULL, 0};
    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (c == '%') {
            int high = len - i > 2 ? hex_of(text[i + 1]) : -1;
            int low = len - i > 2 ? hex_of(text[i + 2]) : -1;

            if (high < 0 || low < 0)
                return LK_ERR_SYNTAX;
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        if (c == '\0')
            return LK_ERR_SYNTAX;
        text[used++] = c;
    }
    if (!lk_utf8_is_valid(lk_span_of(text, used)))
        return LK_ERR_UTF8;
    *out = lk_span_of(text, used);
    return LK_OK;
}

static bool
form_has(const struct http_form *form, struct lk_span name)
{
    for (size_t i = 0; i < form->count; i++)
        if (lk_span_equal(form->param[i].name, name))
            return true;
    return false;
}

static enum lk_err
param_parse(char *text, size_t len, struct http_param *param)
{
    char *equals = memchr(text, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - text);
    enum lk_err err = form_decode(text, name_len, true, &param->name);

    if (err == LK_OK && equals != NULL)
        err = form_decode(equals + 1, len - name_len - 1, true, &param->value);
    return err;
}

enum lk_err
form_parse(char *text, size_t len, struct http_form *form)
{
    char *end = text + len;
    enum lk_err err;

    memset(form, 0, sizeof(*form));
    while (text < end) {
        char *next = memchr(text, '&', (size_t)(end - text));
        size_t part = next == NULL ? (size_t)(end - text) : (size_t)(next - text);
        struct http_param param = {.name = {NULL, 0}};

        if (part > 0) {
            if (form->count == FORM_PARAMS_MAX)
                return LK_ERR_LIMIT;
            err = param_parse(text, part, &param);
            if (err != LK_OK)
                return err;
            if (form_has(form, param.name))
                return LK_ERR_DUPLICATE;
            form->param[form->count++] = param;
        }
        text += part + 1;
    }
    return LK_OK;
}

struct lk_span
form_get(const struct http_form *form, const char *name)
{
    for (size_t i = 0; i < form->count; i++)
        if (lk_span_is(form->param[i].name, name) && form->param[i].value.len > 0)
            return form->param[i].value;
    return (struct lk_span){NULL, 0};
}

/* --- Basic ---------------------------------------------------------------------------------------
 */

static int
base64_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

/** RFC 4648 section 4, with its padding, and zero bits behind the end. */
static enum lk_err
base64_decode(const char *text, size_t len, struct lk_buf room, size_t *out)
{
    uint32_t bits = 0;
    unsigned count = 0;

    *out = 0;
    if (len % 4 != 0)
        return LK_ERR_BASE64;
    while (len > 0 && text[len - 1] == '=' && count < 2) {
        len--;
        count++;
    }
    count = 0;
    for (size_t i = 0; i < len; i++) {
        int value = base64_of(text[i]);

        if (value < 0)
            return LK_ERR_BASE64;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            if (*out == room.cap)
                return LK_ERR_NO_SPACE;
            room.ptr[(*out)++] = (uint8_t)(bits >> count);
            bits &= (1U << count) - 1;
        }
    }
    return bits == 0 ? LK_OK : LK_ERR_BASE64;
}

enum lk_err
basic_parse(const char *text, struct lk_buf room, struct lk_span *id, struct lk_span *secret)
{
    size_t len;
    char *both = (char *)room.ptr, *colon;
    enum lk_err err = base64_decode(text, strlen(text), room, &len);

    *id = *secret = (struct lk_span){NULL, 0};
    if (err != LK_OK)
        return err;
    colon = memchr(both, ':', len);
    if (colon == NULL)
        return LK_ERR_SYNTAX;
    err = form_decode(both, (size_t)(colon - both), true, id);
    if (err == LK_OK)
        err = form_decode(colon + 1, len - (size_t)(colon - both) - 1, true, secret);
    if (err != LK_OK)
        *id = *secret = (struct lk_span){NULL, 0};
    return err;
}
