/*
 * cli.h - what the files of the command line share.
 *
 * A command is a function that gets the arguments behind its name and returns an exit code.
 * Whoever finds the reason for a failure prints it, once, on stderr, and hands the code up.
 */
#ifndef LATCHKEY_CLI_H
#define LATCHKEY_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <latchkey/bytes.h>
#include <latchkey/err.h>

#include "limits.h"

/* Contracts section 11. */
enum cli_exit { CLI_DONE = 0, CLI_REFUSED = 1, CLI_USAGE = 2, CLI_UNREACHABLE = 3 };

struct cli {
    bool json;
    const char *command; /* "device add", for messages */
};

typedef int (*cli_run_fn)(struct cli *cli, int argc, char **argv);

/* say.c: reasons on stderr; each returns its exit code. */
int cli_refused(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_unreachable(const char *format, ...) __attribute__((format(printf, 1, 2)));
int cli_usage(const struct cli *cli, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* memory.c */

/** Let jansson wipe what it gives back. Call it first. */
void memory_start(void);

/** Give back what json_dumps() returned. NULL is fine. */
void json_text_free(char *text);

/* options.c */
struct texts {
    const char *item[ARGS_MAX];
    size_t count;
};

enum opt_kind {
    OPT_FLAG,    /* bool */
    OPT_TEXT,    /* const char * */
    OPT_NUMBER,  /* int64_t, not negative */
    OPT_SECONDS, /* int64_t: 90, 90s, 15m, 12h, 365d */
    OPT_LIST     /* struct texts */
};

struct opt {
    const char *name;
    enum opt_kind kind;
    void *value;
};

/**
 * Take the options out of the arguments; what is left is counted and handed back.
 * @param options  ends with a NULL name.
 * @return false after saying what is wrong: the command answers CLI_USAGE.
 */
bool options_parse(const struct cli *cli, int argc, char **argv, const struct opt *options,
                   size_t least, size_t most, struct texts *rest);

/**
 * Does an argument look like a token or a secret? Others on the machine can read arguments.
 * @return what it looks like ("a token"), or NULL.
 */
const char *options_secret_kind(const char *argument);

/* input.c: from where tokens and secrets come. */

/** Read `-` (or NULL: standard input), `@FILE` or `FILE` whole. @return CLI_DONE or what failed. */
int input_read(const struct cli *cli, const char *source, struct lk_buf room, struct lk_span *out);

/** LATCHKEY_CLIENT_SECRET or LATCHKEY_CLIENT_SECRET_FILE as a terminated string. */
int input_client_secret(const struct cli *cli, char room[SECRET_TEXT_MAX + 1]);

/** Cut line ends off the back of a text; bytes that are not text stay as they are. */
struct lk_span input_trim(struct lk_span in);

/* output.c */

/** One JSON value and a line end on stdout. */
void out_json(const json_t *value);

/** Text that somebody else chose: what a terminal would obey is printed as \xNN. */
void out_text(const char *text, size_t len);

/** An object as aligned lines, nested names joined with a point, times in words. */
void out_lines(const json_t *object);

struct out_column {
    const char *member, *title;
};

/** An array of objects as a table; columns nobody has a value for are left out. */
void out_table(const json_t *rows, const struct out_column *columns, size_t count);

/** "2026-11-22 04:31:51 UTC, in 58 minutes" */
void out_time(int64_t at_s, int64_t now_s, char *room, size_t cap);

/** "58 minutes", "3 days" */
void out_duration(int64_t seconds, char *room, size_t cap);

/* The commands. */
int device_add(struct cli *cli, int argc, char **argv);
int device_list(struct cli *cli, int argc, char **argv);
int device_show(struct cli *cli, int argc, char **argv);
int device_suspend(struct cli *cli, int argc, char **argv);
int device_resume(struct cli *cli, int argc, char **argv);
int device_rotate(struct cli *cli, int argc, char **argv);
int device_remove(struct cli *cli, int argc, char **argv);
int device_restore(struct cli *cli, int argc, char **argv);
int device_disconnect(struct cli *cli, int argc, char **argv);
int device_status(struct cli *cli, int argc, char **argv);
int device_send(struct cli *cli, int argc, char **argv);
int client_add(struct cli *cli, int argc, char **argv);
int client_list(struct cli *cli, int argc, char **argv);
int client_show(struct cli *cli, int argc, char **argv);
int client_suspend(struct cli *cli, int argc, char **argv);
int client_resume(struct cli *cli, int argc, char **argv);
int client_rotate(struct cli *cli, int argc, char **argv);
int client_remove(struct cli *cli, int argc, char **argv);
int key_list(struct cli *cli, int argc, char **argv);
int key_rotate(struct cli *cli, int argc, char **argv);
int token_get(struct cli *cli, int argc, char **argv);
int token_show(struct cli *cli, int argc, char **argv);
int token_verify(struct cli *cli, int argc, char **argv);
int token_revoke(struct cli *cli, int argc, char **argv);
int explain_run(struct cli *cli, int argc, char **argv);
int acl_check(struct cli *cli, int argc, char **argv);
int acl_match(struct cli *cli, int argc, char **argv);
int acl_covers(struct cli *cli, int argc, char **argv);
int acl_import(struct cli *cli, int argc, char **argv);
int doctor_run(struct cli *cli, int argc, char **argv);
int watch_run(struct cli *cli, int argc, char **argv);

#endif
