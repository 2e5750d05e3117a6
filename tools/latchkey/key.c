/*
 * key.c - latchkey key: the server's signing keys.
 */
#include "api.h"

static int
keys_call(const struct cli *cli, const struct call *call)
{
    static const struct out_column columns[] = {{"kid", "KID"},
                                                {"alg", "ALG"},
                                                {"state", "STATE"},
                                                {"created_at", "CREATED"},
                                                {"signs_from", "SIGNS FROM"},
                                                {"until", "UNTIL"}};
    json_t *answer = NULL;
    struct api api;
    int code = api_open(cli, &api);

    if (code != CLI_DONE)
        return code;
    code = api_call(&api, call, &answer);
    if (code == CLI_DONE && cli->json)
        out_json(json_object_get(answer, "items"));
    else if (code == CLI_DONE)
        out_table(json_object_get(answer, "items"), columns, sizeof(columns) / sizeof(columns[0]));
    json_decref(answer);
    api_close(&api);
    return code;
}

int
key_list(struct cli *cli, int argc, char **argv)
{
    static const struct opt options[] = {{NULL, OPT_FLAG, NULL}};
    const struct call call = {.method = "GET", .path = "/v1/keys"};
    struct texts rest;

    if (!options_parse(cli, argc, argv, options, 0, 0, &rest))
        return CLI_USAGE;
    return keys_call(cli, &call);
}

int
key_rotate(struct cli *cli, int argc, char **argv)
{
    const char *compromised = NULL;
    const struct opt options[] = {{"compromised", OPT_TEXT, &compromised}, {NULL, OPT_FLAG, NULL}};
    struct call call = {.method = "POST", .path = "/v1/keys/rotate"};
    json_t *body = json_object();
    struct texts rest;
    int code = CLI_USAGE;

    /* Its kid is asked for, so that a command repeated in haste does not take the new key too. */
    if (options_parse(cli, argc, argv, options, 0, 0, &rest)) {
        if (compromised != NULL &&
            json_object_set_new(body, "compromised", json_string(compromised)) != 0) {
            code = cli_usage(cli, "--compromised: not UTF-8");
        } else {
            call.body = body;
            code = keys_call(cli, &call);
        }
    }
    json_decref(body);
    return code;
}
