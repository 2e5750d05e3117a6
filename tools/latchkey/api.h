/*
 * api.h - the server: tokens and requests.
 *
 * An api is opened from the environment. Its access token is fetched when it is first needed, kept
 * in memory only and wiped by api_close(). Every call prints its own failure and returns an exit
 * code.
 */
#ifndef LATCHKEY_CLI_API_H
#define LATCHKEY_CLI_API_H

#include "cli.h"

#include <latchkey/host/fetch.h>
#include <latchkey/limits.h>

struct api {
    const struct cli *cli;
    const char *url, *ca_file, *client_id;
    struct lk_fetch *fetch;
    uint8_t *room; /* ANSWER_MAX bytes */
    char secret[SECRET_TEXT_MAX + 1];
    char token[LK_TOKEN_MAX + 1];
    int64_t token_until_ms;     /* monotonic; 0: none yet */
    int64_t server_date_s;      /* Date of the last answer; 0: it had none */
    const volatile int *cancel; /* not NULL and non-zero: give up */
};

int api_open(const struct cli *cli, struct api *api);
void api_close(struct api *api);

/** POST a form with the client's credentials. @param answer [out] NULL for an empty answer. */
int api_form(struct api *api, const char *path, struct lk_span form, json_t **answer);

/** What to ask for; NULL and 0 leave it to the server. */
struct token_wish {
    const char *scope, *audience, *format;
    int64_t lifetime_s;
};

/** client_credentials (RFC 6749 section 4.4). @param answer [out] json_decref() it. */
int api_token(struct api *api, const struct token_wish *wish, json_t **answer);

struct call {
    const char *method, *path; /* "/v1/..." with its query */
    const json_t *body;        /* or NULL */
    unsigned extra_ms;         /* the server was asked to wait so long */
    bool may_be_missing;       /* a 404 is no failure, but an empty answer */
};

/**
 * Call the management API. A POST carries an Idempotency-Key; a call whose answer was lost is made
 * once more.
 * @param answer [out] json_decref() it; NULL for an empty answer.
 */
int api_call(struct api *api, const struct call *call, json_t **answer);

/** Append "%2F"-like to a path or query. @return false if it does not fit. */
bool url_append(char *url, size_t cap, const char *literal, const char *escaped);

/* list.c */
struct list {
    const struct cli *cli;
    const char *path; /* "/v1/devices" */
    const struct out_column *columns;
    size_t column_count;
    int64_t most;        /* 0: all */
    char query[URL_MAX]; /* "&type=sensor" ... */
    bool too_long;
};

void list_filter(struct list *list, const char *name, const char *value); /* NULL: none */
int list_run(struct list *list);

#endif
