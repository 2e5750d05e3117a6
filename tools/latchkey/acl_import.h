/*
 * acl_import.h - other brokers' access lists, as one model, and the scope map they become.
 *
 * A source (Mosquitto's acl_file, dynamic security's JSON) is read into lists of rules: a user's
 * section, a role, the patterns for everybody. A user has some of the lists. What a list allows by
 * itself becomes a scope; a user whose lists, taken together, allow just what their scopes allow
 * gets those scopes, any other one a scope of his own. What a rule allows and a denial may take
 * away again is left out, because a scope map only allows: the result is never wider.
 *
 * Filters are kept as MQTT has them, with PLACE_DEVICE or PLACE_CLIENT alone in a level for a user
 * name or client id. Everything is allocated and lives until import_free().
 */
#ifndef LATCHKEY_CLI_ACL_IMPORT_H
#define LATCHKEY_CLI_ACL_IMPORT_H

#include "cli.h"

#define PLACE_DEVICE '\001'
#define PLACE_CLIENT '\002'

/* What a rule is about. Who may not subscribe hears nothing, and who may not receive neither. */
enum import_action { IMPORT_PUBLISH = 1, IMPORT_SUBSCRIBE = 2, IMPORT_RECEIVE = 4 };

/** Where a rule stands in its source's order: the smaller decides. */
struct import_rank {
    int tier;           /* acl_file: user before pattern. dynsec: own roles, groups, defaults */
    int group_priority; /* dynsec's priorities, negated; 0 elsewhere */
    int role_priority;
    int priority;       /* of the rule; acl_file: denials before the rest */
    size_t group, role; /* which; equal priorities of two of them leave the order open */
};

struct import_rule {
    unsigned actions; /* enum import_action */
    bool allow;
    bool any;     /* a default of the source: every filter, also of $-topics; `filter` is "#" */
    char *filter; /* owned */
    unsigned line;
    struct import_rank rank;
};

/** One thing a scope map can say: publish to a filter, or subscribe to it and receive. */
struct import_line {
    bool publish, subscribe;
    char *filter; /* owned */
    unsigned line;
};

struct import_lines {
    struct import_line *item;
    size_t count;
};

struct import_list {
    char *scope; /* "user:pump-7", "role:reader", "everyone" */
    char *what;  /* "user pump-7" */
    unsigned line;
    bool of_user; /* nobody else has it: may be joined with others that say the same */
    struct import_rule *rule;
    size_t rule_count;
    struct import_lines lines; /* what it allows by itself */
    bool used;
};

/** A list a user has, and from where: ranks of its rules are completed by these. */
struct import_use {
    size_t list;
    struct import_rank rank;
};

struct import_user {
    char *name;
    unsigned line;
    struct import_use *use;
    size_t use_count;
    size_t *scope; /* [out] indices of import.scope */
    size_t scope_count;
    size_t type; /* [out] */
};

struct import_scope {
    char *name;
    char *what; /* of whom, for a comment */
    unsigned line;
    struct import_lines lines;
    size_t users;
};

struct import_type {
    size_t *scope;
    size_t scope_count;
    size_t users;
};

/** Something to tell: left out, or worth knowing. */
struct import_remark {
    unsigned line; /* 0: of the file as a whole */
    bool left_out;
    char *text;
};

struct import {
    const char *path;
    const char *format; /* "acl_file", "dynamic-security" */
    struct import_list *list;
    size_t list_count;
    struct import_user *user;
    size_t user_count;
    struct import_rule *base; /* what the source permits to everybody who has any list */
    size_t base_count;
    struct import_scope *scope;
    size_t scope_count;
    struct import_type *type;
    size_t type_count;
    struct import_remark *remark;
    size_t remark_count;
    bool no_memory; /* sticks; the rest does nothing then */
};

void import_free(struct import *im);

/* acl_import_model.c */

/** Grow an array by one zeroed element. @return it, or NULL (and no_memory). */
void *import_grow(struct import *im, void *array, size_t *count, size_t size);
char *import_text(struct import *im, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Note something once. */
void import_remark(struct import *im, unsigned line, bool left_out, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

size_t import_list_add(struct import *im, const char *scope, const char *what, unsigned line);

/** @return the user's index; a new one has no lists yet. SIZE_MAX without memory. */
size_t import_user_get(struct import *im, const char *name, unsigned line);
void import_use_add(struct import *im, size_t user, size_t list, struct import_rank rank);

/**
 * Take a rule into a list (SIZE_MAX: into what everybody has).
 *
 * @param filter  as the source has it. Where `places` is set, %u and %c stand for user and client.
 * A rule that allows and cannot be written in a scope map is left out with a remark. One that
 * denies is kept: a level that cannot be written is taken for any level.
 */
void import_rule_add(struct import *im, size_t list, const struct import_rule *rule,
                     const char *filter, bool places);

/** Turn lists and users into scopes and types. */
void import_resolve(struct import *im);

/* The readers. @return CLI_DONE, or what was said. */
int acl_file_read(const struct cli *cli, struct import *im, struct lk_span file);
int dynsec_read(const struct cli *cli, struct import *im, struct lk_span file);

#endif
