/*
 * What anybody can send to latchkeyd before it knows who they are: forms, Basic credentials, token
 * requests in CBOR, JSON bodies. The first byte chooses.
 */
#include "fuzz.h"

#include "http/form.h"
#include "http/json.h"
#include "oauth/request.h"

static char *text; /* a block of just the input's size, so that one byte too far is seen */

static void
use(struct lk_span span)
{
    PROMISE(lk_utf8_is_valid(span));
    PROMISE(span.len == 0 || memchr(span.ptr, 0, span.len) == NULL);
}

static void
try_form(size_t len)
{
    struct http_form form;

    if (form_parse(text, len, &form) != LK_OK)
        return;
    PROMISE(form.count <= FORM_PARAMS_MAX);
    for (size_t i = 0; i < form.count; i++) {
        use(form.param[i].name);
        use(form.param[i].value);
        for (size_t k = 0; k < i; k++)
            PROMISE(!lk_span_equal(form.param[i].name, form.param[k].name));
    }
}

static void
try_basic(size_t len)
{
    static uint8_t room[HTTP_BODY_MAX];
    struct lk_span id, secret;

    (void)len; /* a header ends in its zero byte */
    if (basic_parse(text, LK_BUF_OF(room), &id, &secret) == LK_OK) {
        use(id);
        use(secret);
    } else {
        PROMISE(id.ptr == NULL && secret.ptr == NULL);
    }
}

static void
try_ace(size_t len)
{
    struct token_request request = {.is_cbor = true};
    const char *why = NULL;

    if (ace_take(lk_span_of(text, len), &request, &why) != OAUTH_OK) {
        PROMISE(why != NULL);
        return;
    }
    PROMISE(request.grant == OAUTH_CLIENT_CREDENTIALS || request.grant == OAUTH_REFRESH_TOKEN);
    PROMISE(request.expires_in_s >= 0);
    PROMISE(lk_utf8_is_valid(request.id) && lk_utf8_is_valid(request.scope));
}

static void
try_json(size_t len)
{
    const char *why = NULL;
    json_t *body = json_body_read(lk_span_of(text, len), &why);

    PROMISE(why != NULL);
    PROMISE(body == NULL || json_is_object(body));
    json_decref(body);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(size_t) = {try_form, try_basic, try_ace, try_json};

    if (size == 0 || size > HTTP_BODY_MAX)
        return 0;
    text = malloc(size);
    PROMISE(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if ((data[0] & 3) == 1) {
        try_basic(size); /* with its end */
    } else {
        text = realloc(text, size > 1 ? size - 1 : 1);
        PROMISE(text != NULL);
        tries[data[0] & 3](size - 1);
    }
    free(text);
    return 0;
}
