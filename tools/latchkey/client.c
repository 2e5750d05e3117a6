/*
 * client.c - latchkey client: those who are not devices.
 */
#include "api.h"
#include "secret_out.h"

#include <stdio.h>
#include <string.h>

#include <latchkey/scope.h>

static int
added_print(const struct cli *cli, json_t *answer, const char *path, int fd)
{
    const json_t *client = json_object_get(answer, "client");
    const char *secret = json_string_value(json_object_get(answer, "secret"));
    int code = CLI_DONE;

    if (fd >= 0 && secret != NULL) {
        code = secret_file_fill(path, fd, secret);
        if (code == CLI_DONE)
            (void)json_object_del(answer, "secret");
    } else {
        secret_file_drop(path, fd);
    }
    if (cli->json) {
        out_json(answer);
        return code;
    }
    secret = json_string_value(json_object_get(answer, "secret"));
    out_lines(client != NULL ? client : answer);
    (void)printf("\nsecret  %s\n", secret != NULL ? secret : path != NULL ? path : "none");
    if (secret != NULL)
        (void)puts("\n# Keep it in a file that only its owner can read: it is not shown again.");
    return code;
}

/* --scope a --scope 'b c' as a list of three. */
static int
scopes_put(const struct cli *cli, const struct texts *scopes, json_t *body)
{
    json_t *array = json_array();
    struct lk_span rest, scope;
    size_t i;
    int code = CLI_DONE;

    for (i = 0; i < scopes->count && code == CLI_DONE; i++) {
        rest = lk_span_text(scopes->item[i]);
        while (code == CLI_DONE && lk_scope_next(&rest, &scope)) {
            if (json_array_append_new(array, json_stringn((const char *)scope.ptr, scope.len)) != 0)
                code = cli_usage(cli, "--scope: not UTF-8");
        }
    }
    if (code == CLI_DONE && json_array_size(array) > 0)
        (void)json_object_set(body, "scopes", array);
    json_decref(array);
    return code;
}

int
client_add(struct cli *cli, int argc, char **argv)
{
    const char *id = NULL, *path = NULL;
    int64_t lifetime_s = 0;
    struct texts scopes = {.count = 0}, rest;
    const struct opt options[] = {{"id", OPT_TEXT, &id},
                                  {"scope", OPT_LIST, &scopes},
                                  {"lifetime", OPT_SECONDS, &lifetime_s},
                                  {"secret-out", OPT_TEXT, &path},
                                  {NULL, OPT_FLAG, NULL}};
    struct call call = {.method = "POST", .path = "/v1/clients"};
    json_t *body, *answer = NULL;
    struct api api = {.cli = cli};
    int code, fd = -1;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    body = json_object();
    if (json_object_set_new(body, "role", json_string(rest.item[0])) != 0 ||
        (id != NULL && json_object_set_new(body, "id", json_string(id)) != 0))
        code = cli_usage(cli, "not UTF-8");
    else
        code = scopes_put(cli, &scopes, body);
    if (lifetime_s > 0)
        (void)json_object_set_new(body, "lifetime", json_integer((json_int_t)lifetime_s));
    if (code == CLI_DONE)
        code = api_open(cli, &api);
    if (code == CLI_DONE)
        code = secret_file_make(path, &fd);
    if (code == CLI_DONE) {
        call.body = body;
        code = api_call(&api, &call, &answer);
        if (code == CLI_DONE)
            code = added_print(cli, answer, path, fd);
        else
            secret_file_drop(path, fd);
    }
    api_close(&api);
    json_decref(answer);
    json_decref(body);
    return code;
}

int
client_list(struct cli *cli, int argc, char **argv)
{
    static const struct out_column columns[] = {{"id", "ID"},
                                                {"role", "ROLE"},
                                                {"state", "STATE"},
                                                {"lifetime", "LIFETIME"},
                                                {"scopes", "SCOPES"}};
    struct list list = {.cli = cli,
                        .path = "/v1/clients",
                        .columns = columns,
                        .column_count = sizeof(columns) / sizeof(columns[0])};
    const struct opt options[] = {{"limit", OPT_NUMBER, &list.most}, {NULL, OPT_FLAG, NULL}};
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 0, 0, &rest))
        return CLI_USAGE;
    return list_run(&list);
}

static int
one_client(struct cli *cli, int argc, char **argv, const char *method, const char *suffix)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    char path[URL_MAX] = "";
    struct call call = {.method = method, .path = path};
    json_t *answer = NULL;
    struct texts rest;
    struct api api;
    int code;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    if (!url_append(path, sizeof(path), "/v1/clients/", rest.item[0]) ||
        !url_append(path, sizeof(path), suffix, NULL))
        return cli_usage(cli, "the id is too long");
    code = api_open(cli, &api);
    if (code != CLI_DONE)
        return code;
    code = api_call(&api, &call, &answer);
    if (code == CLI_DONE && cli->json && answer != NULL)
        out_json(answer);
    else if (code == CLI_DONE && answer != NULL)
        out_lines(answer);
    json_decref(answer);
    api_close(&api);
    return code;
}

int
client_show(struct cli *cli, int argc, char **argv)
{
    return one_client(cli, argc, argv, "GET", "");
}

int
client_suspend(struct cli *cli, int argc, char **argv)
{
    return one_client(cli, argc, argv, "POST", "/suspend");
}

int
client_resume(struct cli *cli, int argc, char **argv)
{
    return one_client(cli, argc, argv, "POST", "/resume");
}

int
client_remove(struct cli *cli, int argc, char **argv)
{
    return one_client(cli, argc, argv, "DELETE", "");
}

int
client_rotate(struct cli *cli, int argc, char **argv)
{
    struct rotation rotation = {0};
    const struct opt options[] = {{"overlap", OPT_SECONDS, &rotation.overlap_s},
                                  {"secret-out", OPT_TEXT, &rotation.secret_out},
                                  {NULL, OPT_FLAG, NULL}};
    char path[URL_MAX] = "";
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 1, 1, &rest))
        return CLI_USAGE;
    if (!url_append(path, sizeof(path), "/v1/clients/", rest.item[0]) ||
        !url_append(path, sizeof(path), "/secret", NULL))
        return cli_usage(cli, "the id is too long");
    return secret_rotate(cli, path, rest.item[0], &rotation);
}
