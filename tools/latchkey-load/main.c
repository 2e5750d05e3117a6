/*
 * latchkey-load - many MQTT clients on one thread, and what they cost the broker.
 */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>

#include "run.h"

/* The C library looks for it by name. */
__attribute__((visibility("default"))) const char *argp_program_version =
    "latchkey-load " LATCHKEY_VERSION;

enum option_key {
    OPT_HOST = 'h',
    OPT_PORT = 'p',
    OPT_CLIENTS = 'n',
    OPT_RATE = 'r',
    OPT_SECONDS = 't',
    OPT_MESSAGES = 'm',
    OPT_SIZE = 's',
    OPT_QOS = 'q',
    OPT_PUBLISHERS = 256,
    OPT_SUBSCRIBERS,
    OPT_ROUNDS,
    OPT_FIRST,
    OPT_KEY,
    OPT_ISSUER,
    OPT_AUDIENCE,
    OPT_FORMAT,
    OPT_PASSWORD_ENV,
    OPT_V311,
    OPT_PID,
    OPT_HUP,
    OPT_JSON
};

static const struct argp_option options[] = {
    {"host", OPT_HOST, "ADDRESS", 0, "The broker, an IPv4 address (127.0.0.1)", 0},
    {"port", OPT_PORT, "PORT", 0, "Its port without TLS (1883)", 0},
    {"mqtt-3.1.1", OPT_V311, NULL, 0, "Speak MQTT 3.1.1 instead of 5", 0},
    {"key", OPT_KEY, "FILE", 0, "Show tokens signed with this private JWK", 1},
    {"issuer", OPT_ISSUER, "URL", 0, "Their iss (https://issuer.test)", 1},
    {"audience", OPT_AUDIENCE, "AUD", 0, "Their aud (mqtt)", 1},
    {"format", OPT_FORMAT, "cwt|jwt", 0, "Their form (cwt)", 1},
    {"password-env", OPT_PASSWORD_ENV, "NAME", 0,
     "Show the password in this environment variable, and the client id as user name", 1},
    {"clients", OPT_CLIENTS, "N", 0, "connect, hold: how many (1000)", 2},
    {"first", OPT_FIRST, "N", 0, "The number in the first client's id (0)", 2},
    {"rounds", OPT_ROUNDS, "N", 0, "connect: how often each comes, with the same token (2)", 2},
    {"rate", OPT_RATE, "N", 0, "connect, probe: so many a second (no limit; probe 200)", 2},
    {"seconds", OPT_SECONDS, "S", 0, "connect, probe: for so long; hold: stay so long", 2},
    {"publishers", OPT_PUBLISHERS, "N", 0, "publish: how many (1)", 3},
    {"subscribers", OPT_SUBSCRIBERS, "N", 0, "publish: how many, each gets everything (1)", 3},
    {"messages", OPT_MESSAGES, "N", 0, "publish: of each publisher (10000)", 3},
    {"size", OPT_SIZE, "BYTES", 0, "publish: of a payload (64)", 3},
    {"qos", OPT_QOS, "0|1", 0, "publish: quality of service (0)", 3},
    {"pid", OPT_PID, "PID", 0, "Measure CPU time and memory of this process: the broker", 4},
    {"hup", OPT_HUP, NULL, 0, "hold: send it a SIGHUP and say what that cost", 4},
    {"json", OPT_JSON, NULL, 0, "Print the result as JSON", 4},
    {0}};

static unsigned
number(struct argp_state *state, const char *text, unsigned long least, unsigned long most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end != '\0' || value < least || value > most)
        argp_error(state, "expected a number from %lu to %lu, not '%s'", least, most, text);
    return (unsigned)value;
}

static void
format_take(struct run *run, struct argp_state *state, const char *value)
{
    run->who.format = strcmp(value, "jwt") == 0 ? LK_FORMAT_JWT : LK_FORMAT_CWT;
    if (strcmp(value, "jwt") != 0 && strcmp(value, "cwt") != 0)
        argp_error(state, "expected cwt or jwt, not '%s'", value);
}

static error_t
load_take(struct run *run, int key, const char *value, struct argp_state *state)
{
    switch (key) {
    case OPT_CLIENTS:
        run->clients = number(state, value, 1, CLIENTS_MAX);
        return 0;
    case OPT_FIRST:
        run->first = number(state, value, 0, 4000000000);
        return 0;
    case OPT_ROUNDS:
        run->rounds = number(state, value, 1, 1000);
        return 0;
    case OPT_RATE:
        run->rate = number(state, value, 1, 1000000);
        return 0;
    case OPT_SECONDS:
        run->seconds = number(state, value, 0, 86400);
        return 0;
    case OPT_PUBLISHERS:
        run->publishers = number(state, value, 1, CLIENTS_MAX / 2);
        return 0;
    case OPT_SUBSCRIBERS:
        run->subscribers = number(state, value, 1, CLIENTS_MAX / 2);
        return 0;
    case OPT_MESSAGES:
        run->messages = number(state, value, 1, 1000000000);
        return 0;
    case OPT_SIZE:
        run->size = number(state, value, 0, PAYLOAD_MAX);
        return 0;
    case OPT_QOS:
        run->qos = (uint8_t)number(state, value, 0, 1);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t
argument_take(int key, char *value, struct argp_state *state)
{
    struct run *run = state->input;

    switch (key) {
    case OPT_HOST:
        run->host = value;
        return 0;
    case OPT_PORT:
        run->port = number(state, value, 1, 65535);
        return 0;
    case OPT_V311:
        run->who.version = LK_MQTT_311;
        return 0;
    case OPT_KEY:
        run->who.key_file = value;
        return 0;
    case OPT_ISSUER:
        run->who.issuer = value;
        return 0;
    case OPT_AUDIENCE:
        run->who.audience = value;
        return 0;
    case OPT_FORMAT:
        format_take(run, state, value);
        return 0;
    case OPT_PASSWORD_ENV:
        run->who.password = getenv(value);
        if (run->who.password == NULL)
            argp_error(state, "%s is not set", value);
        return 0;
    case OPT_PID:
        run->pid = (pid_t)number(state, value, 1, 4194304);
        return 0;
    case OPT_HUP:
        run->hup = true;
        return 0;
    case OPT_JSON:
        run->json = true;
        return 0;
    default:
        return load_take(run, key, value, state);
    }
}

static const struct kind {
    const char *name;
    int (*run)(struct run *run, json_t **answer);
} kinds[] = {
    {"connect", connect_run}, {"publish", publish_run}, {"probe", probe_run}, {"hold", hold_run}};

static const struct argp parser = {
    options,
    argument_take,
    "connect|publish|probe|hold",
    "Many MQTT clients on one thread, and what they cost the broker.\v"
    "connect: come and go; what a login costs, with a token first seen and seen before.\n"
    "publish: messages from publishers to subscribers, as fast as they arrive.\n"
    "probe:   one message after the other between two clients; how long each takes.\n"
    "hold:    many clients at a time; the memory of one, the cost of a SIGHUP.\n"
    "\n"
    "Exit codes: 0 done, 1 refused or lost, 2 wrong usage, 3 could not reach.",
    NULL,
    NULL,
    NULL};

/* Sockets for all of them. */
static void
files_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void
print_object(const json_t *object)
{
    const char *name;
    const json_t *value, *row;
    size_t i;

    json_object_foreach ((json_t *)(uintptr_t)object, name, value) {
        if (json_is_array(value)) {
            json_array_foreach (value, i, row)
                print_object(row);
        } else if (json_is_string(value)) {
            (void)printf("%-20s %s\n", name, json_string_value(value));
        } else {
            (void)printf("%-20s %.10g\n", name, json_number_value(value));
        }
    }
}

static int
load(struct run *run, const struct kind *kind)
{
    json_t *answer = NULL;
    int code = who_open(&run->who);

    if (code != 0)
        return code;
    if (loop_open(&run->loop, run->host, run->port) != LK_OK) {
        (void)fprintf(stderr, "latchkey-load: %s:%u: expected an IPv4 address and a port\n",
                      run->host, run->port);
        who_close(&run->who);
        return EXIT_USAGE;
    }
    code = kind->run(run, &answer);
    people_free(run);
    loop_close(&run->loop);
    who_close(&run->who);
    if (code == 0 && run->json) {
        (void)json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(8));
        (void)putchar('\n');
    } else if (code == 0) {
        print_object(answer);
    }
    json_decref(answer);
    return code;
}

int
main(int argc, char **argv)
{
    static struct run run = {.host = "127.0.0.1",
                             .port = 1883,
                             .clients = 1000,
                             .publishers = 1,
                             .subscribers = 1,
                             .rounds = 2,
                             .messages = 10000,
                             .size = 64,
                             .who = {.issuer = "https://issuer.test",
                                     .audience = "mqtt",
                                     .format = LK_FORMAT_CWT,
                                     .version = LK_MQTT_5}};
    int at = 0;

    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&parser, argc, argv, 0, &at, &run) != 0 || at != argc - 1) {
        argp_help(&parser, stderr, ARGP_HELP_SEE, "latchkey-load");
        return EXIT_USAGE;
    }
    if (run.pid != 0 && watch_cpu_ns(run.pid) < 0) {
        (void)fprintf(stderr, "latchkey-load: there is no process %d\n", (int)run.pid);
        return EXIT_USAGE;
    }
    run.progress = isatty(STDERR_FILENO);
    run.loop.version = run.who.version;
    run.loop.user = &run;
    (void)signal(SIGPIPE, SIG_IGN);
    files_raise();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(argv[at], kinds[i].name) == 0)
            return load(&run, &kinds[i]);
    argp_help(&parser, stderr, ARGP_HELP_SEE, "latchkey-load");
    return EXIT_USAGE;
}
