#include "explain_device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <latchkey/host/clock.h>

#include "api.h"

/* --- asking -------------------------------------------------------------------------------- */

static int
ask(struct api *api, const char *id, const char *suffix, bool may_be_missing, json_t **answer)
{
    char path[URL_MAX] = "";
    struct call call = {.method = "GET", .path = path, .may_be_missing = may_be_missing};

    *answer = NULL;
    if (!url_append(path, sizeof(path), "/v1/devices/", id) ||
        !url_append(path, sizeof(path), suffix, NULL))
        return cli_usage(api->cli, "the id is too long");
    return api_call(api, &call, answer);
}

static int64_t
at_of(const json_t *denial)
{
    return (int64_t)json_integer_value(json_object_get(denial, "at"));
}

/* Newest first, whatever the server's order; a page is short. */
static json_t *
sorted(const json_t *items)
{
    json_t *out = json_array(), *item;
    size_t i, at;

    json_array_foreach (items, i, item) {
        if (!json_is_object(item))
            continue;
        for (at = 0; at < json_array_size(out); at++)
            if (at_of(json_array_get(out, at)) < at_of(item))
                break;
        (void)json_array_insert(out, at, item);
        if (json_array_size(out) > DENIALS_SHOWN)
            (void)json_array_remove(out, DENIALS_SHOWN);
    }
    return out;
}

static bool
join_scopes(struct explained *x)
{
    const json_t *item;
    size_t i, len = 0;
    int n;

    json_array_foreach (json_object_get(x->device, "scopes"), i, item) {
        n = json_is_string(item) ? snprintf(x->scope + len, sizeof(x->scope) - len, "%s%s",
                                            len > 0 ? " " : "", json_string_value(item))
                                 : 0;
        if (n < 0 || (size_t)n >= sizeof(x->scope) - len)
            return false;
        len += (size_t)n;
    }
    return true;
}

int
explained_fetch(const struct cli *cli, const char *id, struct explained *x)
{
    json_t *denials = NULL;
    struct api api;
    int code;

    memset(x, 0, sizeof(*x));
    code = api_open(cli, &api);
    if (code != CLI_DONE)
        return code;
    code = ask(&api, id, "", false, &x->device);
    if (code == CLI_DONE)
        code = ask(&api, id, "/denials", true, &denials);
    x->server_s = api.server_date_s;
    x->here_s = lk_clock_wall_s();
    api_close(&api);
    if (code == CLI_DONE && denials != NULL)
        x->denials = sorted(json_object_get(denials, "items"));
    json_decref(denials);
    if (code == CLI_DONE && !join_scopes(x))
        code = cli_refused("the device's scopes are longer than %d bytes", LK_SCOPE_MAX);
    if (code != CLI_DONE)
        explained_free(x);
    return code;
}

void
explained_free(struct explained *x)
{
    json_decref(x->device);
    json_decref(x->denials);
    memset(x, 0, sizeof(*x));
}

static struct lk_span
member(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_string(value)
               ? lk_span_of((const uint8_t *)json_string_value(value), json_string_length(value))
               : (struct lk_span){NULL, 0};
}

int
explained_claims(const struct cli *cli, const struct explained *x, struct lk_claims *claims)
{
    *claims = (struct lk_claims){.format = LK_FORMAT_JWT,
                                 .subject = member(x->device, "id"),
                                 .type = member(x->device, "type"),
                                 .tenant = member(x->device, "tenant"),
                                 .scope = lk_span_text(x->scope)};
    if (claims->subject.len > 0 && claims->type.len > 0)
        return CLI_DONE;
    return cli_unreachable("%s: the answer is no device; is this a Latchkey server?", cli->command);
}

/* --- in words ------------------------------------------------------------------------------ */

/* The broker says names of latchkey/err.h; a newer one may know more of them. */
static const char *
reason_text(const char *name)
{
#define REASON_ROW(word, number, sentence) {#word, sentence},
    static const struct {
        const char *name, *text;
    } rows[] = {LK_ERR_LIST(REASON_ROW)};
#undef REASON_ROW

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].text;
    return "a reason this version does not know";
}

static const char *
text_of(const json_t *denial, const char *name)
{
    const char *text = json_string_value(json_object_get(denial, name));

    return text != NULL ? text : "";
}

static void
print_text(const char *text)
{
    out_text(text, strlen(text));
}

static void
print_denial(const struct explained *x, const json_t *denial)
{
    int64_t count = (int64_t)json_integer_value(json_object_get(denial, "count"));
    char when[96];

    out_time(at_of(denial), x->here_s, when, sizeof(when));
    (void)printf("  %s  ", when);
    print_text(text_of(denial, "action"));
    (void)putchar(' ');
    print_text(text_of(denial, "topic"));
    if (count > 1)
        (void)printf(" (%" PRId64 " times)", count);
    (void)fputs(text_of(denial, "topic")[0] != '\0' ? ", as " : "as ", stdout);
    print_text(text_of(denial, "client_id"));
    (void)fputs("\n    ", stdout);
    print_text(text_of(denial, "reason"));
    (void)printf(": %s\n", reason_text(text_of(denial, "reason")));
}

/* --- clocks -------------------------------------------------------------------------------- */

static bool
has_reason(const struct explained *x, const char *reason)
{
    const json_t *denial;
    size_t i;

    json_array_foreach (x->denials, i, denial) {
        if (strcmp(text_of(denial, "reason"), reason) == 0)
            return true;
    }
    return false;
}

/* A refusal from the server's future was stamped by a clock that is ahead of it. */
static int64_t
broker_ahead_s(const struct explained *x)
{
    int64_t ahead_s = 0;
    const json_t *denial;
    size_t i;

    json_array_foreach (x->denials, i, denial) {
        if (x->server_s > 0 && at_of(denial) - x->server_s > ahead_s)
            ahead_s = at_of(denial) - x->server_s;
    }
    return ahead_s;
}

/** Lines of advice, as they go to a terminal or into JSON. */
struct hints {
    char line[5][192];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void
hint(struct hints *h, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(h->line[h->count++], sizeof(h->line[0]), format, args);
    va_end(args);
}

static void
collect_hints(const struct explained *x, struct hints *h)
{
    int64_t here_s = x->server_s > 0 ? x->here_s - x->server_s : 0;
    int64_t broker_s = broker_ahead_s(x);

    h->count = 0;
    if (strcmp(text_of(x->device, "state"), "active") != 0)
        hint(h, "the device is %s: it gets no token", text_of(x->device, "state"));
    if (here_s >= CLOCK_SKEW_S || here_s <= -CLOCK_SKEW_S)
        hint(h, "clocks: this machine is %" PRId64 " s %s the server",
             here_s < 0 ? -here_s : here_s, here_s < 0 ? "behind" : "ahead of");
    if (broker_s >= CLOCK_SKEW_S)
        hint(h, "clocks: the broker is at least %" PRId64 " s ahead of the server", broker_s);
    if (has_reason(x, "EXPIRED"))
        hint(h, "EXPIRED: the device does not renew in time, or the broker's clock is ahead of "
                "the server's: compare `date -u` on both");
    if (has_reason(x, "NOT_YET") || has_reason(x, "CLOCK"))
        hint(h, "NOT_YET, CLOCK: the broker's clock is behind the server's: compare `date -u` on "
                "both");
}

void
explained_print(const struct explained *x)
{
    const json_t *denial;
    struct hints h;
    size_t i;

    if (x->denials == NULL)
        (void)puts("the server keeps no refusals of its brokers");
    else if (json_array_size(x->denials) == 0)
        (void)puts("no broker has told of a refusal lately");
    else
        (void)puts("last refusals, newest first:");
    json_array_foreach (x->denials, i, denial)
        print_denial(x, denial);
    collect_hints(x, &h);
    for (i = 0; i < h.count; i++) {
        (void)fputs("hint: ", stdout);
        print_text(h.line[i]);
        (void)putchar('\n');
    }
}

void
explained_add(const struct explained *x, json_t *answer)
{
    json_t *lines = json_array();
    struct hints h;

    collect_hints(x, &h);
    for (size_t i = 0; i < h.count; i++)
        (void)json_array_append_new(lines, json_string(h.line[i]));
    (void)json_object_set(answer, "device", x->device);
    (void)json_object_set_new(answer, "denials",
                              x->denials != NULL ? json_incref(x->denials) : json_null());
    (void)json_object_set_new(answer, "clock_ahead_s",
                              x->server_s > 0 ? json_integer(x->here_s - x->server_s)
                                              : json_null());
    (void)json_object_set_new(answer, "hints", lines);
}
