/*
 * acl.c - scope maps and topic filters, offline.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/policy.h>
#include <latchkey/topic.h>

static int
answer_yes_no(const struct cli *cli, bool yes)
{
    json_t *answer;

    if (!cli->json) {
        (void)puts(yes ? "yes" : "no");
    } else {
        answer = json_pack("{s:b}", "answer", yes ? 1 : 0);
        out_json(answer);
        json_decref(answer);
    }
    return yes ? CLI_DONE : CLI_REFUSED;
}

static int
say_error(const struct cli *cli, const char *path, const struct lk_policy_error *error)
{
    json_t *answer;

    if (cli->json) {
        answer = json_pack("{s:b, s:s, s:I, s:I, s:s}", "ok", 0, "file", path, "line",
                           (json_int_t)error->line, "column", (json_int_t)error->column, "expected",
                           error->expected);
        out_json(answer);
        json_decref(answer);
    }
    (void)fprintf(stderr, "%s:%u:%u: expected %s\n", path, (unsigned)error->line,
                  (unsigned)error->column, error->expected);
    return CLI_REFUSED;
}

/* The claims of a token that count beside its scopes, and how they stand in the map. */
static const struct {
    uint32_t bit;
    const char *word;
} token_rules[] = {{LK_TOKEN_RULES_ACL, "acl"}, {LK_TOKEN_RULES_PUBL_SUBS, "publ-subs"}};
#define TOKEN_RULES_COUNT (sizeof(token_rules) / sizeof(token_rules[0]))

static void
say_fine_json(const char *path, const struct lk_policy *policy)
{
    json_t *words = json_array();
    json_t *answer = json_pack("{s:b, s:s, s:I}", "ok", 1, "file", path, "rules",
                               (json_int_t)policy->rule_count);

    for (size_t i = 0; i < TOKEN_RULES_COUNT; i++) {
        if (policy->token_rules & token_rules[i].bit)
            (void)json_array_append_new(words, json_string(token_rules[i].word));
    }
    (void)json_object_set_new(answer, "token_rules", words);
    out_json(answer);
    json_decref(answer);
}

static int
say_fine(const struct cli *cli, const char *path, const struct lk_policy *policy)
{
    if (cli->json) {
        say_fine_json(path, policy);
        return CLI_DONE;
    }
    (void)printf("%s: %u rule%s", path, (unsigned)policy->rule_count,
                 policy->rule_count == 1 ? "" : "s");
    for (size_t i = 0; i < TOKEN_RULES_COUNT; i++) {
        if (policy->token_rules & token_rules[i].bit)
            (void)printf(", token-rules %s", token_rules[i].word);
    }
    (void)putchar('\n');
    return CLI_DONE;
}

int
acl_check(struct cli *cli, int argc, char **argv)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    static struct lk_policy policy; /* too large for the stack */
    static uint8_t room[LK_POLICY_FILE_MAX + 1];
    struct lk_policy_error error = {0};
    struct lk_span file;
    struct texts rest;
    const char *path;
    int code;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    path = rest.item[0][0] == '@' ? rest.item[0] + 1 : rest.item[0];
    code = input_read(cli, path, LK_BUF_OF(room), &file);
    if (code != CLI_DONE)
        return code;
    if (lk_policy_parse(file, &policy, &error) != LK_OK)
        return say_error(cli, path, &error);
    return say_fine(cli, path, &policy);
}

int
acl_match(struct cli *cli, int argc, char **argv)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    struct lk_span filter, topic, group;
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 2, 2, &rest))
        return CLI_USAGE;
    filter = lk_span_text(rest.item[0]);
    topic = lk_span_text(rest.item[1]);
    if (!lk_filter_is_valid(filter))
        return cli_usage(cli, "not a valid topic filter");
    if (!lk_topic_is_valid(topic))
        return cli_usage(cli, "not a valid topic name");
    (void)lk_filter_split_share(filter, &group, &filter);
    return answer_yes_no(cli, lk_topic_matches(filter, topic));
}

int
acl_covers(struct cli *cli, int argc, char **argv)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    struct lk_span rule, filter, group;
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 2, 2, &rest))
        return CLI_USAGE;
    rule = lk_span_text(rest.item[0]);
    filter = lk_span_text(rest.item[1]);
    if (!lk_filter_is_valid(rule) || lk_filter_split_share(rule, &group, &rule))
        return cli_usage(cli, "the rule is not a valid topic filter without $share");
    if (!lk_filter_is_valid(filter))
        return cli_usage(cli, "not a valid topic filter");
    (void)lk_filter_split_share(filter, &group, &filter);
    return answer_yes_no(cli, lk_filter_covers(rule, filter));
}
