/*
 * acl_import_model.c - lists of rules become scopes; see acl_import.h.
 */
#include "acl_import.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchkey/id.h>
#include <latchkey/limits.h>
#include <latchkey/topic.h>

/* --- memory -------------------------------------------------------------------------------- */

void *
import_grow(struct import *im, void *array, size_t *count, size_t size)
{
    void *const *at = array;
    uint8_t *items = *at;

    if (im->no_memory)
        return NULL;
    /* Powers of two: an array is enlarged when it holds one. */
    if ((*count & (*count - 1)) == 0) {
        items = reallocarray(items, *count == 0 ? 1 : *count * 2, size);
        if (items == NULL) {
            im->no_memory = true;
            return NULL;
        }
        memcpy(array, &items, sizeof(items));
    }
    memset(items + *count * size, 0, size);
    return items + (*count)++ * size;
}

static char *
text_make(struct import *im, const char *format, va_list args)
{
    char *text = NULL;
    va_list again;
    int len;

    va_copy(again, args);
    len = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (!im->no_memory && len >= 0)
        text = malloc((size_t)len + 1);
    if (text == NULL) {
        im->no_memory = true;
        return NULL;
    }
    (void)vsnprintf(text, (size_t)len + 1, format, args);
    return text;
}

char *
import_text(struct import *im, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    text = text_make(im, format, args);
    va_end(args);
    return text;
}

static void
lines_free(struct import_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->item[i].filter);
    free(lines->item);
    *lines = (struct import_lines){NULL, 0};
}

static void
rules_free(struct import_rule *rules, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(rules[i].filter);
    free(rules);
}

static void
lists_free(struct import *im)
{
    for (size_t i = 0; i < im->list_count; i++) {
        rules_free(im->list[i].rule, im->list[i].rule_count);
        lines_free(&im->list[i].lines);
        free(im->list[i].scope);
        free(im->list[i].what);
    }
    free(im->list);
}

void
import_free(struct import *im)
{
    lists_free(im);
    rules_free(im->base, im->base_count);
    for (size_t i = 0; i < im->user_count; i++) {
        free(im->user[i].name);
        free(im->user[i].use);
        free(im->user[i].scope);
    }
    for (size_t i = 0; i < im->scope_count; i++) {
        lines_free(&im->scope[i].lines);
        free(im->scope[i].name);
        free(im->scope[i].what);
    }
    for (size_t i = 0; i < im->type_count; i++)
        free(im->type[i].scope);
    for (size_t i = 0; i < im->remark_count; i++)
        free(im->remark[i].text);
    free(im->user);
    free(im->scope);
    free(im->type);
    free(im->remark);
    *im = (struct import){.no_memory = im->no_memory};
}

void
import_remark(struct import *im, unsigned line, bool left_out, const char *format, ...)
{
    struct import_remark *remark;
    va_list args;
    char *text;

    va_start(args, format);
    text = text_make(im, format, args);
    va_end(args);
    for (size_t i = 0; text != NULL && i < im->remark_count; i++) {
        if (im->remark[i].line == line && strcmp(im->remark[i].text, text) == 0) {
            free(text);
            return;
        }
    }
    remark = text != NULL ? import_grow(im, &im->remark, &im->remark_count, sizeof(*remark)) : NULL;
    if (remark != NULL)
        *remark = (struct import_remark){line, left_out, text};
    else
        free(text);
}

size_t
import_list_add(struct import *im, const char *scope, const char *what, unsigned line)
{
    struct import_list *list = import_grow(im, &im->list, &im->list_count, sizeof(*list));

    if (list == NULL)
        return SIZE_MAX;
    list->scope = import_text(im, "%s", scope);
    list->what = import_text(im, "%s", what);
    list->line = line;
    return im->list_count - 1;
}

size_t
import_user_get(struct import *im, const char *name, unsigned line)
{
    struct import_user *user;

    for (size_t i = 0; i < im->user_count; i++)
        if (im->user[i].name != NULL && strcmp(im->user[i].name, name) == 0)
            return i;
    user = import_grow(im, &im->user, &im->user_count, sizeof(*user));
    if (user == NULL)
        return SIZE_MAX;
    user->name = import_text(im, "%s", name);
    user->line = line;
    return im->user_count - 1;
}

void
import_use_add(struct import *im, size_t user, size_t list, struct import_rank rank)
{
    struct import_use *use;

    if (user == SIZE_MAX || list == SIZE_MAX)
        return;
    use = import_grow(im, &im->user[user].use, &im->user[user].use_count, sizeof(*use));
    if (use != NULL)
        *use = (struct import_use){list, rank};
}

/* --- filters ------------------------------------------------------------------------------- */

static struct lk_span
level_next(const char **rest)
{
    const char *at = *rest;
    size_t len = strcspn(at, "/");

    *rest = at[len] == '/' ? at + len + 1 : NULL;
    return lk_span_of(at, len);
}

static bool
level_is_place(struct lk_span level)
{
    return level.len == 1 && (level.ptr[0] == PLACE_DEVICE || level.ptr[0] == PLACE_CLIENT);
}

/* Might a level of one filter and a level of another be the same level of a topic? */
static bool
levels_meet(struct lk_span a, struct lk_span b, const char *user)
{
    struct lk_span name = user != NULL ? lk_span_text(user) : (struct lk_span){NULL, 0};

    if (user != NULL && a.len == 1 && a.ptr[0] == PLACE_DEVICE)
        a = name;
    if (user != NULL && b.len == 1 && b.ptr[0] == PLACE_DEVICE)
        b = name;
    return level_is_place(a) || level_is_place(b) || lk_span_is(a, "+") || lk_span_is(b, "+") ||
           lk_span_equal(a, b);
}

/* Is there a topic that both match? When in doubt, yes. A leading wildcard is taken to match
 * $-topics as well. @param user  whose name fills PLACE_DEVICE, or NULL. */
static bool
filters_meet(const char *a, const char *b, const char *user)
{
    while (a != NULL && b != NULL) {
        struct lk_span x = level_next(&a), y = level_next(&b);

        if (lk_span_is(x, "#") || lk_span_is(y, "#"))
            return true;
        if (!levels_meet(x, y, user))
            return false;
    }
    /* "a/#" matches "a" too. */
    return (a == NULL || strcmp(a, "#") == 0) && (b == NULL || strcmp(b, "#") == 0);
}

static bool
covers(const struct import_rule *rule, const char *filter)
{
    return rule->any || lk_filter_covers(lk_span_text(rule->filter), lk_span_text(filter));
}

static bool
has_place(struct lk_span level)
{
    for (size_t i = 0; i + 1 < level.len; i++)
        if (level.ptr[i] == '%' && (level.ptr[i + 1] == 'u' || level.ptr[i + 1] == 'c'))
            return true;
    return false;
}

/* What a scope map cannot say about a level, or NULL. */
static const char *
why_not_level(struct lk_span level, bool places)
{
    if (has_place(level))
        return places ? "%u and %c must be a level of their own"
                      : "%u and %c cannot stand for themselves";
    for (size_t i = 0; i < level.len; i++) {
        if (level.ptr[i] < ' ' || level.ptr[i] == 0x7f)
            return "a filter cannot have a control character in it";
        if (level.ptr[i] == ' ')
            return "a filter cannot have a space in it";
        if (level.ptr[i] == '{' || level.ptr[i] == '}')
            return "braces stand for placeholders in a scope map";
    }
    return NULL;
}

/* Must a denial take this level for any? It may hold a placeholder, or a byte we use as one. */
static bool
is_unclear(struct lk_span level, bool places)
{
    for (size_t i = 0; i < level.len; i++)
        if (level.ptr[i] < ' ')
            return true;
    return places && has_place(level);
}

/* A level as it will stand in our filter. @return what is wrong with it, or NULL. */
static const char *
level_take(struct lk_span level, bool places, bool allow, char *out, size_t *len)
{
    const char *why = NULL;

    if (places && (lk_span_is(level, "%u") || lk_span_is(level, "%c"))) {
        out[(*len)++] = level.ptr[1] == 'u' ? PLACE_DEVICE : PLACE_CLIENT;
        return NULL;
    }
    if (allow)
        why = why_not_level(level, places);
    if (is_unclear(level, places)) {
        out[(*len)++] = '+';
        return why;
    }
    memcpy(out + *len, level.ptr, level.len);
    *len += level.len;
    return why;
}

static const char *
levels_take(const char *filter, bool places, bool allow, char *out)
{
    const char *rest = filter, *why = NULL, *found;
    size_t len = 0, count = 0;

    while (rest != NULL) {
        if (count++ > 0)
            out[len++] = '/';
        found = level_take(level_next(&rest), places, allow, out, &len);
        why = why == NULL ? found : why;
    }
    out[len] = '\0';
    return why == NULL && allow && count > LK_POLICY_LEVELS_MAX ? "a filter has at most 16 levels"
                                                                : why;
}

/* What the plugin keeps for itself, whatever a map says (token/POLICY.md). */
static const char *
why_not_ours(const char *filter)
{
    if (!lk_filter_is_valid(lk_span_text(filter)))
        return "not a topic filter";
    if (strncmp(filter, "$share/", 7) == 0)
        return "a rule is written without $share/<group>/";
    if (strcmp(filter, "t") == 0 || strncmp(filter, "t/", 2) == 0)
        return "everything under t/ belongs to tenants";
    if (strcmp(filter, "authz-info") == 0)
        return "authz-info belongs to the plugin";
    return NULL;
}

static void
rule_put(struct import *im, size_t list, const struct import_rule *rule)
{
    struct import_rule *to;

    if (list == SIZE_MAX)
        to = import_grow(im, &im->base, &im->base_count, sizeof(*to));
    else
        to = import_grow(im, &im->list[list].rule, &im->list[list].rule_count, sizeof(*to));
    if (to != NULL)
        *to = *rule;
    else
        free(rule->filter);
}

void
import_rule_add(struct import *im, size_t list, const struct import_rule *rule, const char *filter,
                bool places)
{
    struct import_rule made = *rule;
    const char *why;

    made.filter = im->no_memory ? NULL : malloc(strlen(filter) + 1);
    if (made.filter == NULL) {
        im->no_memory = true;
        return;
    }
    why = levels_take(filter, places, rule->allow, made.filter);
    if (why == NULL && rule->allow && !rule->any)
        why = why_not_ours(made.filter);
    if (why != NULL && rule->allow) {
        import_remark(im, rule->line, true, "%s: %s", filter, why);
        free(made.filter);
        return;
    }
    rule_put(im, list, &made);
}

/* --- what rules allow together ------------------------------------------------------------- */

struct rules {
    const struct import_rule **item;
    struct import_rank *rank; /* as it is for this user */
    size_t count, rank_count;
    size_t base_from; /* from here on they are the source's defaults */
};

/* One that goes before the other where both match. 0: nobody knows. */
static int
rank_compare(const struct import_rank *a, const struct import_rank *b)
{
    if (a->tier != b->tier)
        return a->tier < b->tier ? -1 : 1;
    if (a->group_priority != b->group_priority)
        return a->group_priority < b->group_priority ? -1 : 1;
    if (a->group != b->group)
        return 0;
    if (a->role_priority != b->role_priority)
        return a->role_priority < b->role_priority ? -1 : 1;
    if (a->role != b->role || a->priority == b->priority)
        return 0;
    return a->priority < b->priority ? -1 : 1;
}

static void
rules_put(struct import *im, struct rules *rules, const struct import_rule *rule,
          struct import_rank rank)
{
    const struct import_rule **item =
        import_grow(im, &rules->item, &rules->count, sizeof(*rules->item));
    struct import_rank *at =
        import_grow(im, &rules->rank, &rules->rank_count, sizeof(*rules->rank));

    if (item != NULL && at != NULL) {
        *item = rule;
        *at = rank;
    }
}

static void
rules_put_list(struct import *im, struct rules *rules, const struct import_use *use)
{
    const struct import_list *list = &im->list[use->list];

    for (size_t i = 0; i < list->rule_count; i++) {
        struct import_rank rank = use->rank;

        if (rank.tier == 0) /* the reader says: as the rule has it */
            rank.tier = list->rule[i].rank.tier;
        rank.priority = list->rule[i].rank.priority;
        rank.role = use->list;
        rules_put(im, rules, &list->rule[i], rank);
    }
}

static void
rules_put_base(struct import *im, struct rules *rules)
{
    rules->base_from = rules->count;
    for (size_t i = 0; i < im->base_count; i++)
        rules_put(im, rules, &im->base[i], im->base[i].rank);
}

static void
rules_free_list(struct rules *rules)
{
    free(rules->item);
    free(rules->rank);
}

/* The first denial that may take away some of what `rule` allows of `filter`; NULL: none does. */
static const struct import_rule *
denial_of(const struct rules *rules, size_t rule, const char *filter, unsigned action,
          const char *user)
{
    const struct import_rule *found = NULL;

    for (size_t i = 0; i < rules->count; i++) {
        const struct import_rule *d = rules->item[i];

        if (d->allow || !(d->actions & action) || !filters_meet(d->filter, filter, user) ||
            rank_compare(&rules->rank[i], &rules->rank[rule]) > 0)
            continue;
        if (covers(d, filter))
            return d; /* the rule allows nothing at all */
        found = found == NULL ? d : found;
    }
    return found;
}

/* Where what a call of effective() finds goes to. */
struct effect {
    struct import *im;
    const struct rules *rules;
    const char *user;  /* or NULL */
    bool tell;         /* remarks, too */
    const char *whose; /* for remarks: " for user x", or "" */
    struct import_lines lines;
};

/* A filter as the source would write it. */
static char *
filter_shown(struct import *im, const char *filter)
{
    char *out = malloc(2 * strlen(filter) + 1), *to = out;

    if (out == NULL) {
        im->no_memory = true;
        return NULL;
    }
    for (; *filter != '\0'; filter++) {
        if (*filter == PLACE_DEVICE || *filter == PLACE_CLIENT) {
            *to++ = '%';
            *to++ = *filter == PLACE_DEVICE ? 'u' : 'c';
        } else {
            *to++ = *filter;
        }
    }
    *to = '\0';
    return out;
}

static void
tell_denied(struct effect *e, const struct import_rule *rule, const char *filter,
            const struct import_rule *denial)
{
    char *shown;

    if (!e->tell || covers(denial, filter))
        return;
    shown = filter_shown(e->im, filter);
    import_remark(e->im, rule->line, true,
                  "%s%s: line %u denies a part of it, and a scope map only allows",
                  shown != NULL ? shown : "", e->whose, denial->line);
    free(shown);
}

static void
line_put(struct effect *e, bool publish, bool subscribe, const char *filter, unsigned line)
{
    struct import_line *to = NULL;

    for (size_t i = 0; i < e->lines.count && to == NULL; i++)
        if (strcmp(e->lines.item[i].filter, filter) == 0)
            to = &e->lines.item[i];
    if (to == NULL) {
        to = import_grow(e->im, &e->lines.item, &e->lines.count, sizeof(*to));
        if (to == NULL)
            return;
        to->filter = import_text(e->im, "%s", filter);
        to->line = line;
    }
    to->publish = to->publish || publish;
    to->subscribe = to->subscribe || subscribe;
}

static void
publish_take(struct effect *e, size_t rule)
{
    const struct import_rule *r = e->rules->item[rule];
    const struct import_rule *denial =
        denial_of(e->rules, rule, r->filter, IMPORT_PUBLISH, e->user);

    if (denial == NULL)
        line_put(e, true, false, r->filter, r->line);
    else
        tell_denied(e, r, r->filter, denial);
}

/* A subscription counts as far as its messages may be received: the narrower of two filters. */
static void
subscribe_take(struct effect *e, size_t sub, size_t recv)
{
    const struct import_rule *s = e->rules->item[sub], *r = e->rules->item[recv];
    const struct import_rule *narrow = !s->any && covers(r, s->filter) ? s : r, *denial;
    bool is_default = sub >= e->rules->base_from && recv >= e->rules->base_from;

    if (is_default || !filters_meet(s->filter, r->filter, e->user))
        return;
    if (narrow == r && !covers(s, r->filter)) {
        if (e->tell)
            import_remark(e->im, s->line, true,
                          "%s%s: only a part of it may be received (line %u), and no filter says "
                          "which",
                          s->filter, e->whose, r->line);
        return;
    }
    denial = denial_of(e->rules, sub, narrow->filter, IMPORT_SUBSCRIBE, e->user);
    if (denial == NULL)
        denial = denial_of(e->rules, recv, narrow->filter, IMPORT_RECEIVE, e->user);
    if (denial == NULL)
        line_put(e, false, true, narrow->filter, narrow->line);
    else
        tell_denied(e, narrow, narrow->filter, denial);
}

static void
effect_run(struct effect *e)
{
    const struct rules *rules = e->rules;

    for (size_t i = 0; i < rules->count && !e->im->no_memory; i++) {
        if (!rules->item[i]->allow)
            continue;
        if (rules->item[i]->actions & IMPORT_PUBLISH)
            publish_take(e, i);
        for (size_t j = 0; rules->item[i]->actions & IMPORT_SUBSCRIBE && j < rules->count; j++)
            if (rules->item[j]->allow && rules->item[j]->actions & IMPORT_RECEIVE)
                subscribe_take(e, i, j);
    }
}

static struct import_lines
list_effect(struct import *im, size_t list)
{
    struct import_use use = {.list = list};
    struct rules rules = {0};
    struct effect e = {.im = im, .rules = &rules, .tell = true, .whose = ""};

    rules_put_list(im, &rules, &use);
    rules_put_base(im, &rules);
    effect_run(&e);
    rules_free_list(&rules);
    return e.lines;
}

static struct import_lines
user_effect(struct import *im, const struct import_user *user, bool tell)
{
    char *whose = import_text(im, " for user %s", user->name);
    struct rules rules = {0};
    struct effect e = {.im = im, .rules = &rules, .user = user->name, .tell = tell, .whose = whose};

    for (size_t i = 0; i < user->use_count; i++)
        rules_put_list(im, &rules, &user->use[i]);
    rules_put_base(im, &rules);
    if (!im->no_memory)
        effect_run(&e);
    rules_free_list(&rules);
    free(whose);
    return e.lines;
}

/* --- scopes -------------------------------------------------------------------------------- */

static const struct import_line *
line_find(const struct import_lines *lines, const char *filter)
{
    for (size_t i = 0; i < lines->count; i++)
        if (strcmp(lines->item[i].filter, filter) == 0)
            return &lines->item[i];
    return NULL;
}

static bool
lines_equal(const struct import_lines *a, const struct import_lines *b)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct import_line *other = line_find(b, a->item[i].filter);

        if (other == NULL || other->publish != a->item[i].publish ||
            other->subscribe != a->item[i].subscribe)
            return false;
    }
    return a->count == b->count;
}

/* Do the scopes of a user's lists allow, together, just what the user may? */
static bool
lists_suffice(struct import *im, const struct import_user *user, const struct import_lines *lines)
{
    struct effect sum = {.im = im};
    bool same;

    for (size_t i = 0; i < user->use_count; i++) {
        const struct import_lines *of_list = &im->list[user->use[i].list].lines;

        for (size_t j = 0; j < of_list->count; j++)
            line_put(&sum, of_list->item[j].publish, of_list->item[j].subscribe,
                     of_list->item[j].filter, 0);
    }
    same = lines_equal(&sum.lines, lines);
    lines_free(&sum.lines);
    return same;
}

/* The user's name in a level becomes a placeholder, so that users who differ in nothing else can
 * share a scope. */
static struct import_lines
lines_generalise(struct import *im, const struct import_lines *lines, const char *name)
{
    struct effect e = {.im = im};

    for (size_t i = 0; i < lines->count; i++) {
        const char *rest = lines->item[i].filter;
        char *filter = malloc(strlen(rest) + 1);
        size_t len = 0;

        if (filter == NULL) {
            im->no_memory = true;
            break;
        }
        while (rest != NULL) {
            struct lk_span level = level_next(&rest);

            if (lk_span_is(level, name)) {
                filter[len++] = PLACE_DEVICE;
            } else {
                memcpy(filter + len, level.ptr, level.len);
                len += level.len;
            }
            if (rest != NULL)
                filter[len++] = '/';
        }
        filter[len] = '\0';
        line_put(&e, lines->item[i].publish, lines->item[i].subscribe, filter, lines->item[i].line);
        free(filter);
    }
    return e.lines;
}

static void
user_scope_add(struct import *im, struct import_user *user, size_t scope)
{
    size_t *to;

    if (scope == SIZE_MAX)
        return;
    to = import_grow(im, &user->scope, &user->scope_count, sizeof(*to));
    if (to != NULL) {
        *to = scope;
        im->scope[scope].users++;
    }
}

/* @param lines  given away. */
static size_t
scope_add(struct import *im, const char *name, const char *what, unsigned line,
          struct import_lines *lines)
{
    struct import_scope *scope = import_grow(im, &im->scope, &im->scope_count, sizeof(*scope));

    if (scope == NULL) {
        lines_free(lines);
        return SIZE_MAX;
    }
    scope->name = import_text(im, "%s", name);
    scope->what = import_text(im, "%s", what);
    scope->line = line;
    scope->lines = *lines;
    *lines = (struct import_lines){NULL, 0};
    return im->scope_count - 1;
}

static size_t
scope_find(const struct import *im, const char *name)
{
    for (size_t i = 0; i < im->scope_count; i++)
        if (im->scope[i].name != NULL && strcmp(im->scope[i].name, name) == 0)
            return i;
    return SIZE_MAX;
}

/* The scope of a list everybody in it shares: written once. An empty one is none. */
static size_t
list_scope(struct import *im, size_t index)
{
    const struct import_list *list = &im->list[index];
    struct effect copy = {.im = im};
    size_t at = scope_find(im, list->scope);

    if (at != SIZE_MAX || list->lines.count == 0)
        return at;
    for (size_t i = 0; i < list->lines.count; i++)
        line_put(&copy, list->lines.item[i].publish, list->lines.item[i].subscribe,
                 list->lines.item[i].filter, list->lines.item[i].line);
    return scope_add(im, list->scope, list->what, list->line, &copy.lines);
}

/* A scope of a user's own, or one that says the same of another user. */
static size_t
own_scope(struct import *im, const struct import_user *user, struct import_lines *lines)
{
    struct import_lines general = lines_generalise(im, lines, user->name);
    char *name, *what;
    size_t at;

    lines_free(lines);
    if (im->no_memory || general.count == 0) {
        lines_free(&general);
        return SIZE_MAX;
    }
    for (at = 0; at < im->scope_count; at++)
        if (strncmp(im->scope[at].name, "user:", 5) == 0 &&
            lines_equal(&im->scope[at].lines, &general))
            break;
    if (at < im->scope_count) {
        lines_free(&general);
        return at;
    }
    name = import_text(im, "user:%s", user->name);
    what = import_text(im, "user %s", user->name);
    at = im->no_memory ? SIZE_MAX : scope_add(im, name, what, user->line, &general);
    lines_free(&general);
    free(name);
    free(what);
    return at;
}

static bool
user_is_possible(struct import *im, const struct import_user *user)
{
    if (lk_id_is_valid(lk_span_text(user->name)) && strchr(user->name, '~') == NULL)
        return true;
    import_remark(im, user->line, true,
                  "user %s: an id is 1 to 64 letters, digits, '.', '_' and '-'", user->name);
    return false;
}

static void
user_resolve(struct import *im, struct import_user *user)
{
    struct import_lines all, own = {NULL, 0};
    bool by_lists;

    if (!user_is_possible(im, user))
        return;
    all = user_effect(im, user, false);
    by_lists = lists_suffice(im, user, &all);
    lines_free(&all);
    if (!by_lists) {
        own = user_effect(im, user, true);
        import_remark(im, user->line, false,
                      "user %s: what denies, or priorities, hold across lists; gets a scope of its "
                      "own instead of theirs",
                      user->name);
        user_scope_add(im, user, own_scope(im, user, &own));
        return;
    }
    for (size_t i = 0; i < user->use_count; i++) {
        size_t list = user->use[i].list;

        if (!im->list[list].of_user)
            user_scope_add(im, user, list_scope(im, list));
        else
            user_scope_add(im, user, own_scope(im, user, &im->list[list].lines));
    }
}

static bool
scopes_equal(const struct import_type *type, const struct import_user *user)
{
    return type->scope_count == user->scope_count &&
           memcmp(type->scope, user->scope, user->scope_count * sizeof(*user->scope)) == 0;
}

static int
compare_sizes(const void *a, const void *b)
{
    const size_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

/* A device type for each set of scopes. */
static void
user_type(struct import *im, struct import_user *user)
{
    struct import_type *type;
    size_t *scope;

    user->type = SIZE_MAX;
    if (user->scope_count == 0)
        return;
    qsort(user->scope, user->scope_count, sizeof(*user->scope), compare_sizes);
    for (user->type = 0; user->type < im->type_count; user->type++)
        if (scopes_equal(&im->type[user->type], user))
            break;
    if (user->type == im->type_count) {
        type = import_grow(im, &im->type, &im->type_count, sizeof(*type));
        for (size_t i = 0; type != NULL && i < user->scope_count; i++) {
            scope = import_grow(im, &type->scope, &type->scope_count, sizeof(*scope));
            if (scope != NULL)
                *scope = user->scope[i];
        }
    }
    if (!im->no_memory)
        im->type[user->type].users++;
}

/* A denial nobody loses anything by needs no words in the map. */
static void
remark_denials(struct import *im)
{
    for (size_t i = 0; i < im->list_count; i++)
        for (size_t j = 0; j < im->list[i].rule_count; j++)
            if (!im->list[i].rule[j].allow && im->list[i].rule[j].line > 0)
                import_remark(im, im->list[i].rule[j].line, false,
                              "denies: nothing to write, since what no rule allows is denied");
}

void
import_resolve(struct import *im)
{
    for (size_t i = 0; i < im->list_count && !im->no_memory; i++)
        im->list[i].lines = list_effect(im, i);
    for (size_t i = 0; i < im->user_count && !im->no_memory; i++)
        user_resolve(im, &im->user[i]);
    /* Roles nobody has yet, and the patterns where nobody is named. */
    for (size_t i = 0; i < im->list_count && !im->no_memory; i++)
        if (!im->list[i].of_user)
            (void)list_scope(im, i);
    for (size_t i = 0; i < im->user_count && !im->no_memory; i++)
        user_type(im, &im->user[i]);
    if (!im->no_memory)
        remark_denials(im);
}
