/*
 * explain.c - latchkey explain: which rule decides, or the nearest one and why it did not match; of
 * a token, or of a device as the server has it.
 */
#include "cli.h"
#include "explain_device.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/grant.h>
#include <latchkey/host/clock.h>
#include <latchkey/token.h>

struct wish {
    const char *token, *scopes, *client_id;
    int64_t qos, size;
    bool retain;
};

/* The scope map and its text, to show the line a rule came from. */
struct map {
    const char *name;
    struct lk_span text;
    struct lk_policy policy;
    uint8_t room[LK_POLICY_FILE_MAX + 1];
};

static int
map_read(const struct cli *cli, const char *path, struct map *map)
{
    struct lk_policy_error error = {0};
    int code = CLI_DONE;

    map->name = path != NULL ? path : "built-in map";
    map->text = lk_span_text(lk_policy_default);
    if (path != NULL)
        code = input_read(cli, path, LK_BUF_OF(map->room), &map->text);
    if (code == CLI_DONE && lk_policy_parse(map->text, &map->policy, &error) != LK_OK)
        code = cli_usage(cli, "%s:%u:%u: expected %s", map->name, (unsigned)error.line,
                         (unsigned)error.column, error.expected);
    return code;
}

/* Line `number` of the map, blanks cut off at both ends. */
static struct lk_span
line_of(const struct map *map, uint32_t number)
{
    struct lk_span rest = map->text, line = {NULL, 0};
    const uint8_t *end;

    for (; number > 0 && rest.ptr != NULL; number--) {
        end = rest.len > 0 ? memchr(rest.ptr, '\n', rest.len) : NULL;
        line = end != NULL ? lk_span_of(rest.ptr, (size_t)(end - rest.ptr)) : rest;
        rest =
            end != NULL ? lk_span_of(end + 1, rest.len - line.len - 1) : (struct lk_span){NULL, 0};
    }
    while (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
        line = lk_span_of(line.ptr + 1, line.len - 1);
    while (line.len > 0 && line.ptr[line.len - 1] <= ' ')
        line.len--;
    return line;
}

static json_t *
span_json(struct lk_span text)
{
    return json_stringn(text.len > 0 ? (const char *)text.ptr : "", text.len);
}

static bool
is_of_token(const struct lk_explanation *e)
{
    return e->has_rule && (e->rule & LK_RULE_OF_TOKEN) != 0;
}

/* The token's own rules are counted from 1, as lines are. */
static unsigned
own_number(const struct lk_explanation *e)
{
    return (unsigned)(e->rule & ~LK_RULE_OF_TOKEN) + 1;
}

static void
add_rule(json_t *answer, const struct map *map, const struct lk_explanation *e)
{
    uint32_t line;

    if (is_of_token(e)) {
        (void)json_object_set_new(answer, "token_rule", json_integer(own_number(e)));
        (void)json_object_set_new(answer, "rule", span_json(e->filter));
        return;
    }
    line = map->policy.rules[e->rule].line;
    (void)json_object_set_new(answer, "file", json_string(map->name));
    (void)json_object_set_new(answer, "line", json_integer(line));
    (void)json_object_set_new(answer, "rule", span_json(line_of(map, line)));
}

static void
print_json(const struct map *map, const struct lk_explanation *e, const char *action,
           const char *topic, const struct explained *device)
{
    json_t *answer =
        json_pack("{s:b, s:s}", "allowed", e->verdict.access == LK_ACCESS_ALLOW, "action", action);

    (void)json_object_set_new(answer, "topic", json_string(topic)); /* left out if not UTF-8 */
    (void)json_object_set_new(answer, "reason", json_string(lk_reason_text(e->reason)));
    if (e->has_rule)
        add_rule(answer, map, e);
    if (e->detail.len > 0)
        (void)json_object_set_new(answer, "detail", span_json(e->detail));
    if (e->verdict.rate_max > 0)
        (void)json_object_set_new(answer, "rate_max", json_integer(e->verdict.rate_max));
    if (device != NULL)
        explained_add(device, answer);
    out_json(answer);
    json_decref(answer);
}

static void
print_rule(const struct map *map, const struct lk_explanation *e, const char *what)
{
    struct lk_span text = e->filter;
    uint32_t line;

    if (is_of_token(e)) {
        (void)printf("  %s  the token's own rule %u: ", what, own_number(e));
    } else {
        line = map->policy.rules[e->rule].line;
        text = line_of(map, line);
        (void)printf("  %s  %s:%u: ", what, map->name, (unsigned)line);
    }
    out_text((const char *)text.ptr, text.len);
    (void)putchar('\n');
}

static void
print_lines(const struct map *map, const struct lk_explanation *e, const char *action,
            const char *topic)
{
    bool allowed = e->verdict.access == LK_ACCESS_ALLOW;

    (void)printf("%s: %s ", allowed ? "allowed" : "denied", action);
    out_text(topic, strlen(topic));
    (void)putchar('\n');
    if (e->has_rule)
        print_rule(map, e, allowed ? "rule   " : "nearest");
    (void)printf("  why      %s", lk_reason_text(e->reason));
    if (e->detail.len > 0) {
        (void)fputs(": ", stdout);
        out_text((const char *)e->detail.ptr, e->detail.len);
    }
    (void)putchar('\n');
    if (e->verdict.rate_max > 0)
        (void)printf("  rate     at most %u messages a second\n", (unsigned)e->verdict.rate_max);
}

static void
note_times(const struct lk_claims *claims)
{
    int64_t now_s = lk_clock_wall_s();

    if (!claims->has_expires)
        cli_note("the token has no exp; the broker refuses it altogether");
    else if (claims->expires_s <= now_s)
        cli_note("the token has expired; the broker refuses it altogether");
    else if (claims->has_not_before && claims->not_before_s > now_s)
        cli_note("the token is not valid yet; the broker refuses it until then");
}

/* @param device  whose the claims are, or NULL: they are a token's */
static int
judge(const struct cli *cli, const struct map *map, const struct lk_claims *claims,
      const struct lk_request *request, const struct wish *wish, const char *action,
      const struct explained *device)
{
    static uint8_t room[LK_IDENTITY_ROOM];
    struct lk_explanation e;
    struct lk_identity identity;
    struct lk_span client_id = claims->subject;
    enum lk_err err;
    char topic[LK_TOPIC_MAX + 1];

    if (wish->client_id != NULL)
        client_id = lk_span_text(wish->client_id);
    err = lk_identity_from_claims(&map->policy, claims, client_id, LK_BUF_OF(room), &identity);
    if (err == LK_OK)
        err = lk_grant_explain(&map->policy, &identity, request, &e);
    if (err != LK_OK)
        return cli_usage(cli, "the %s: %s", device != NULL ? "device" : "token", lk_err_text(err));
    memcpy(topic, request->topic.ptr, request->topic.len);
    topic[request->topic.len] = '\0';
    if (cli->json)
        print_json(map, &e, action, topic, device);
    else
        print_lines(map, &e, action, topic);
    if (device == NULL)
        note_times(claims);
    else if (!cli->json)
        explained_print(device);
    return e.verdict.access == LK_ACCESS_ALLOW ? CLI_DONE : CLI_REFUSED;
}

static int
request_build(const struct cli *cli, const char *action, const char *topic, const struct wish *wish,
              struct lk_request *request)
{
    if (strcmp(action, "publish") == 0)
        request->action = LK_ACTION_PUBLISH;
    else if (strcmp(action, "subscribe") == 0)
        request->action = LK_ACTION_SUBSCRIBE;
    else
        return cli_usage(cli, "expected publish or subscribe, not '%s'", action);
    if (wish->qos > 2)
        return cli_usage(cli, "--qos: 0, 1 or 2");
    if (wish->size > UINT32_MAX || strlen(topic) > LK_TOPIC_MAX)
        return cli_usage(cli, "no MQTT message is that large");
    request->topic = lk_span_text(topic);
    request->qos = (uint8_t)wish->qos;
    request->retain = wish->retain;
    request->size = (uint32_t)wish->size;
    return CLI_DONE;
}

static int
explain_token(const struct cli *cli, const struct map *map, const struct lk_request *request,
              const struct wish *wish, const char *action)
{
    static uint8_t room[INPUT_MAX], scratch[LK_TOKEN_SCRATCH_MAX];
    struct lk_token token;
    struct lk_span in;
    enum lk_err err;
    int code = input_read(cli, wish->token, LK_BUF_OF(room), &in);

    if (code == CLI_DONE) {
        err = lk_token_parse(input_trim(in), LK_BUF_OF(scratch), &token);
        if (err != LK_OK)
            code = cli_usage(cli, "not a token: %s", lk_err_text(err));
        else if (token.sealed.message.ptr != NULL)
            code = cli_usage(cli, "the token is encrypted: nothing in it can be explained");
        else
            code = judge(cli, map, &token.claims, request, wish, action, NULL);
    }
    lk_wipe(room, sizeof(room));
    lk_wipe(scratch, sizeof(scratch));
    return code;
}

static int
explain_device(const struct cli *cli, const struct map *map, const struct lk_request *request,
               const struct wish *wish, const char *action, const char *id)
{
    struct lk_claims claims;
    struct explained device;
    int code = explained_fetch(cli, id, &device);

    if (code != CLI_DONE)
        return code;
    code = explained_claims(cli, &device, &claims);
    if (code == CLI_DONE)
        code = judge(cli, map, &claims, request, wish, action, &device);
    explained_free(&device);
    return code;
}

/* DEVICE publish TOPIC, or --token - publish TOPIC. */
static int
check_form(const struct cli *cli, const struct texts *rest, const struct wish *wish)
{
    if (rest->count == 3 && wish->token != NULL)
        return cli_usage(cli, "a device or --token, not both");
    if (rest->count == 2 &&
        (wish->token == NULL || (strcmp(wish->token, "-") != 0 && wish->token[0] != '@')))
        return cli_usage(cli, "a device, --token - or --token @FILE is missing");
    return CLI_DONE;
}

int
explain_run(struct cli *cli, int argc, char **argv)
{
    static struct map map;
    struct wish wish = {0};
    const struct opt options[] = {{"token", OPT_TEXT, &wish.token},
                                  {"scopes", OPT_TEXT, &wish.scopes},
                                  {"client-id", OPT_TEXT, &wish.client_id},
                                  {"qos", OPT_NUMBER, &wish.qos},
                                  {"size", OPT_NUMBER, &wish.size},
                                  {"retain", OPT_FLAG, &wish.retain},
                                  {NULL, OPT_FLAG, NULL}};
    struct lk_request request = {0};
    struct texts rest;
    const char *action, *topic;
    int code;

    if (!options_parse(cli, argc, argv, options, 2, 3, &rest))
        return CLI_USAGE;
    action = rest.item[rest.count - 2];
    topic = rest.item[rest.count - 1];
    code = request_build(cli, action, topic, &wish, &request);
    if (code == CLI_DONE)
        code = check_form(cli, &rest, &wish);
    if (code == CLI_DONE)
        code = map_read(cli, wish.scopes, &map);
    if (code != CLI_DONE)
        return code;
    return rest.count == 3 ? explain_device(cli, &map, &request, &wish, action, rest.item[0])
                           : explain_token(cli, &map, &request, &wish, action);
}
