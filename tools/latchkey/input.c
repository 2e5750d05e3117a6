/*
 * input.c - tokens and secrets come from standard input, a file or the environment.
 */
#include "cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/host/file.h>

static int
stdin_read(struct lk_buf room, struct lk_span *out)
{
    size_t len = fread(room.ptr, 1, room.cap, stdin);

    if (ferror(stdin))
        return cli_refused("standard input: %s", strerror(errno));
    if (len == room.cap && fgetc(stdin) != EOF)
        return cli_refused("standard input: more than %zu bytes", room.cap);
    *out = lk_span_of(room.ptr, len);
    return CLI_DONE;
}

int
input_read(const struct cli *cli, const char *source, struct lk_buf room, struct lk_span *out)
{
    enum lk_err err;

    *out = (struct lk_span){NULL, 0};
    if (source == NULL || strcmp(source, "-") == 0)
        return stdin_read(room, out);
    if (source[0] == '@')
        source++;
    err = lk_file_read(source, room, out);
    if (err == LK_ERR_NO_SPACE)
        return cli_refused("%s: more than %zu bytes", source, room.cap);
    if (err != LK_OK)
        return cli_usage(cli, "cannot read '%s': %s", source, strerror(errno));
    return CLI_DONE;
}

int
input_client_secret(const struct cli *cli, char room[SECRET_TEXT_MAX + 1])
{
    const char *value = getenv("LATCHKEY_CLIENT_SECRET");
    const char *path = getenv("LATCHKEY_CLIENT_SECRET_FILE");
    struct lk_span secret;
    enum lk_err err;

    if (value != NULL && value[0] != '\0') {
        if (strlen(value) > SECRET_TEXT_MAX)
            return cli_usage(cli, "LATCHKEY_CLIENT_SECRET: more than %d bytes", SECRET_TEXT_MAX);
        memcpy(room, value, strlen(value) + 1);
        return CLI_DONE;
    }
    if (path == NULL || path[0] == '\0')
        return cli_usage(cli,
                         "who are you? Set LATCHKEY_CLIENT_ID, and LATCHKEY_CLIENT_SECRET_FILE "
                         "or LATCHKEY_CLIENT_SECRET");
    err = lk_file_read_secret(path, (struct lk_buf){(uint8_t *)room, SECRET_TEXT_MAX}, &secret);
    if (err == LK_ERR_PERMISSION)
        return cli_usage(cli, "'%s' can be read by others: chmod 600 '%s'", path, path);
    if (err != LK_OK)
        return cli_usage(cli, "LATCHKEY_CLIENT_SECRET_FILE: cannot read '%s': %s", path,
                         strerror(errno));
    room[secret.len] = '\0';
    return CLI_DONE;
}

struct lk_span
input_trim(struct lk_span in)
{
    /* COSE begins with a byte above 0x7f; such bytes are never text, and a last 0x0a is theirs. */
    if (in.len == 0 || in.ptr[0] >= 0x80)
        return in;
    while (in.len > 0 && (in.ptr[in.len - 1] == '\n' || in.ptr[in.len - 1] == '\r'))
        in.len--;
    return in;
}
