/*
 * say.c - how failures are told: once, on stderr, with the exit code that goes with them.
 */
#include "cli.h"

#include <stdarg.h>
#include <stdio.h>

static void
say(const char *kind, const char *format, va_list args)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "%s: ", kind);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
}

int
cli_refused(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("refused", format, args);
    va_end(args);
    return CLI_REFUSED;
}

int
cli_unreachable(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("could not reach", format, args);
    va_end(args);
    return CLI_UNREACHABLE;
}

int
cli_usage(const struct cli *cli, const char *format, ...)
{
    char kind[64];
    va_list args;

    (void)snprintf(kind, sizeof(kind), "latchkey %s", cli->command);
    va_start(args, format);
    say(kind, format, args);
    va_end(args);
    (void)fprintf(stderr, "See: latchkey %s --help\n", cli->command);
    return CLI_USAGE;
}

void
cli_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say("note", format, args);
    va_end(args);
}
