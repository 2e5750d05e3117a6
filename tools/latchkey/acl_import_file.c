/*
 * acl_import_file.c - Mosquitto's acl_file, as mosquitto.conf(5) has it and the broker reads it.
 *
 * A user's lines go before the patterns; in each, what denies before the rest. Subscribing is free
 * to everybody there, and only what is delivered is looked at: here the filter is looked at, too.
 */
#include "acl_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIER_USER = 0, TIER_PATTERN = 1, TIER_DEFAULT = 9 };

struct acl_reading {
    struct import *im;
    size_t everyone;  /* the list of patterns; SIZE_MAX: none yet */
    size_t user_list; /* of the section we are in; SIZE_MAX: before the first */
    unsigned line;
};

static const struct {
    const char *word;
    unsigned actions;
    bool allow;
} accesses[] = {
    {"read", IMPORT_RECEIVE, true},
    {"write", IMPORT_PUBLISH, true},
    {"readwrite", IMPORT_PUBLISH | IMPORT_RECEIVE, true},
    {"deny", IMPORT_PUBLISH | IMPORT_RECEIVE, false},
};
#define ACCESS_COUNT (sizeof(accesses) / sizeof(accesses[0]))

static char *
trim(char *text)
{
    size_t len;

    text += strspn(text, " \t");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL)
        text[--len] = '\0';
    return text;
}

static size_t
section_list(struct acl_reading *r, const char *user)
{
    char *scope = import_text(r->im, "user:%s", user), *what = import_text(r->im, "user %s", user);
    size_t at = SIZE_MAX;

    for (size_t i = 0; scope != NULL && i < r->im->list_count && at == SIZE_MAX; i++)
        if (r->im->list[i].of_user && strcmp(r->im->list[i].scope, scope) == 0)
            at = i;
    if (at == SIZE_MAX && scope != NULL && what != NULL) {
        at = import_list_add(r->im, scope, what, r->line);
        if (at != SIZE_MAX)
            r->im->list[at].of_user = true;
        import_use_add(r->im, import_user_get(r->im, user, r->line), at, (struct import_rank){0});
    }
    free(scope);
    free(what);
    return at;
}

static size_t
pattern_list(struct acl_reading *r)
{
    if (r->everyone == SIZE_MAX)
        r->everyone = import_list_add(r->im, "everyone", "every user (patterns)", r->line);
    return r->everyone;
}

/* "[read|write|readwrite|deny] FILTER", and the broker's reading of one word alone: a filter. */
static const char *
rule_read(struct acl_reading *r, bool pattern, char *rest)
{
    struct import_rule rule = {.actions = IMPORT_PUBLISH | IMPORT_RECEIVE, .allow = true};
    char *filter = strchr(rest, ' ');
    size_t i = 0;

    if (filter != NULL) {
        *filter++ = '\0';
        for (; i < ACCESS_COUNT && strcmp(rest, accesses[i].word) != 0; i++)
            ;
        if (i == ACCESS_COUNT)
            return "read, write, readwrite or deny";
        rule.actions = accesses[i].actions;
        rule.allow = accesses[i].allow;
    }
    filter = trim(filter != NULL ? filter : rest);
    if (filter[0] == '\0')
        return "a topic filter";
    rule.line = r->line;
    rule.rank.tier = pattern ? TIER_PATTERN : TIER_USER;
    rule.rank.priority = rule.allow ? 1 : 0;
    if (!pattern && r->user_list == SIZE_MAX)
        import_remark(r->im, r->line, true,
                      "topic %s: is for clients without a user name; here nobody is anonymous",
                      filter);
    else
        import_rule_add(r->im, pattern ? pattern_list(r) : r->user_list, &rule, filter, pattern);
    return NULL;
}

/* @return what was expected, or NULL. */
static const char *
line_read(struct acl_reading *r, char *line)
{
    char *rest;

    if (line[0] == '#')
        return NULL;
    line = trim(line);
    if (line[0] == '\0')
        return NULL;
    rest = line + strcspn(line, " ");
    if (*rest != '\0')
        *rest++ = '\0';
    rest = trim(rest);
    if (strcmp(line, "topic") != 0 && strcmp(line, "pattern") != 0 && strcmp(line, "user") != 0)
        return "topic, pattern or user";
    if (rest[0] == '\0')
        return strcmp(line, "user") == 0 ? "a user name" : "a topic filter";
    if (strcmp(line, "user") != 0)
        return rule_read(r, line[0] == 'p', rest);
    r->user_list = section_list(r, rest);
    return NULL;
}

/* Patterns are for everybody; subscribing is free. */
static void
everyone_complete(struct acl_reading *r)
{
    const struct import_rule subscribing = {
        .actions = IMPORT_SUBSCRIBE, .allow = true, .any = true, .rank = {.tier = TIER_DEFAULT}};
    struct import *im = r->im;

    import_rule_add(im, SIZE_MAX, &subscribing, "#", false);
    for (size_t i = 0; r->everyone != SIZE_MAX && i < im->user_count; i++)
        import_use_add(im, i, r->everyone, (struct import_rank){0});
    if (r->everyone != SIZE_MAX)
        import_remark(im, im->list[r->everyone].line, false,
                      "patterns are for every user, also for those this file does not name: "
                      "register them with a type that has the scope `everyone`");
    import_remark(im, 0, false,
                  "an acl_file lets everybody subscribe to anything and looks at deliveries; a "
                  "scope map refuses a filter that no single rule covers, such as `#`");
}

int
acl_file_read(const struct cli *cli, struct import *im, struct lk_span file)
{
    struct acl_reading r = {.im = im, .everyone = SIZE_MAX, .user_list = SIZE_MAX};
    char *text = strndup((const char *)file.ptr, file.len), *next = text, *line;
    const char *expected = NULL;

    (void)cli;
    im->format = "acl_file";
    while (text != NULL && next != NULL && expected == NULL) {
        line = strsep(&next, "\n");
        r.line++;
        expected = line_read(&r, line);
    }
    free(text);
    if (expected != NULL) {
        (void)fprintf(stderr, "%s:%u: expected %s\n", im->path, r.line, expected);
        return CLI_REFUSED;
    }
    everyone_complete(&r);
    return CLI_DONE;
}
