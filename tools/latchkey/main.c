/*
 * main.c - the table of commands, and help.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command {
    const char *group, *name; /* name NULL: the group is the command */
    cli_run_fn run;
    const char *arguments;
    const char *summary;
    const char *more; /* options and an example */
} commands[] = {
    {"device", "add", device_add, "TYPE [--id ID] [--name TEXT] [--location TEXT] [--tag TAG]...",
     "register a device; its secret is shown once",
     "  --id ID            instead of TYPE-<random>; 1 to 64 of A-Z a-z 0-9 . _ -\n"
     "  --name TEXT        for people\n"
     "  --location TEXT    for people\n"
     "  --tag TAG          a text such as floor=2; may be repeated\n"
     "  --secret-out FILE  write the secret to a new file (0600) instead of showing it\n"
     "\n"
     "Example:\n"
     "  latchkey device add sensor --id boiler-7 --name 'Boiler room' --tag floor=2\n"},
    {"device", "list", device_list,
     "[--type TYPE] [--tag TAG] [--state STATE] [--q TEXT] [--limit N]", "list devices",
     "  --type TYPE    only devices of this type\n"
     "  --tag TAG      only devices with this tag\n"
     "  --state STATE  only active, suspended or deleted ones\n"
     "  --q TEXT       only devices with this text in id, name or location\n"
     "  --limit N      stop after N devices\n"
     "\n"
     "Example:\n"
     "  latchkey device list --type sensor --json\n"},
    {"device", "show", device_show, "ID", "show what is registered about a device",
     "Example:\n"
     "  latchkey device show boiler-7\n"},
    {"device", "suspend", device_suspend, "ID", "lock a device out, also on open connections",
     "Example:\n"
     "  latchkey device suspend boiler-7\n"},
    {"device", "resume", device_resume, "ID", "let a suspended device in again",
     "Example:\n"
     "  latchkey device resume boiler-7\n"},
    {"device", "disconnect", device_disconnect, "ID",
     "end a device's connections; its secret and refresh tokens stay good",
     "Its access tokens are void. It comes back as soon as it has asked for another.\n"
     "\n"
     "Example:\n"
     "  latchkey device disconnect boiler-7\n"},
    {"device", "rotate", device_rotate, "ID [--overlap S] [--secret-out FILE]",
     "give a device a new secret",
     "  --overlap S        the old secret stays good for S seconds; also 15m, 12h, 30d. Without "
     "it\n"
     "                     the old one and all tokens end at once\n"
     "  --secret-out FILE  write the secret to a new file (0600) instead of showing it\n"
     "\n"
     "Example:\n"
     "  latchkey device rotate boiler-7 --overlap 7d --secret-out boiler-7.secret\n"},
    {"device", "remove", device_remove, "ID [--purge]", "delete a device",
     "  --purge  for good: everything that is known of it. Its id is never given out again\n"
     "\n"
     "Without --purge it can be restored. Its tokens are void either way.\n"
     "\n"
     "Example:\n"
     "  latchkey device remove boiler-7\n"},
    {"device", "restore", device_restore, "ID", "bring back a device that was removed",
     "Example:\n"
     "  latchkey device restore boiler-7\n"},
    {"device", "status", device_status, "ID", "last seen, latest telemetry, battery, signal",
     "Example:\n"
     "  latchkey device status boiler-7\n"},
    {"device", "send", device_send, "ID NAME [ARGS-JSON] [--wait S] [--expires S]",
     "send a command to a device",
     "  ARGS-JSON      any JSON value, `-` for standard input or @FILE\n"
     "  --wait S       wait up to S seconds (60 at most) for the device's result\n"
     "  --expires S    the command is void after S seconds; also 15m, 12h, 1d\n"
     "\n"
     "With --wait the exit code is 0 if the device did it, 1 if it failed or the command expired,\n"
     "3 if no result came in time. Without --wait it is 0 as soon as the command is stored.\n"
     "\n"
     "Example:\n"
     "  latchkey device send valve-3 open '{\"percent\": 40}' --wait 10\n"},
    {"client", "add", client_add, "ROLE [--id ID] [--scope SCOPE]... [--lifetime S]",
     "register a user of the API: a monitor, a device manager, a broker",
     "  --id ID            instead of a random one\n"
     "  --scope SCOPE      instead of all scopes of the role; may be repeated\n"
     "  --lifetime S       of its access tokens; also 15m, 12h, 365d\n"
     "  --secret-out FILE  write the secret to a new file (0600) instead of showing it\n"
     "\n"
     "Example:\n"
     "  latchkey client add monitor --id grafana --secret-out grafana.secret\n"},
    {"client", "list", client_list, "[--limit N]", "list clients",
     "Example:\n"
     "  latchkey client list\n"},
    {"client", "show", client_show, "ID", "show what is registered about a client",
     "Example:\n"
     "  latchkey client show grafana\n"},
    {"client", "suspend", client_suspend, "ID", "lock a client out; its tokens are void",
     "Example:\n"
     "  latchkey client suspend grafana\n"},
    {"client", "resume", client_resume, "ID", "let a suspended client in again",
     "Example:\n"
     "  latchkey client resume grafana\n"},
    {"client", "rotate", client_rotate, "ID [--overlap S] [--secret-out FILE]",
     "give a client a new secret",
     "  --overlap S        the old secret stays good for S seconds; also 15m, 12h, 30d. Without "
     "it\n"
     "                     the old one and all tokens end at once\n"
     "  --secret-out FILE  write the secret to a new file (0600) instead of showing it\n"
     "\n"
     "Example:\n"
     "  latchkey client rotate grafana --overlap 1h --secret-out grafana.secret\n"},
    {"client", "remove", client_remove, "ID", "delete a client for good",
     "Example:\n"
     "  latchkey client remove grafana\n"},
    {"key", "list", key_list, "", "list the server's signing keys",
     "Example:\n"
     "  latchkey key list\n"},
    {"key", "rotate", key_rotate, "[--compromised KID]", "make a new signing key",
     "  --compromised KID  this key is in wrong hands: it and every token it signed are void at\n"
     "                     once. Without it the new key is published first and signs some minutes\n"
     "                     later, and what the old one signed stays good\n"
     "\n"
     "Example:\n"
     "  latchkey key rotate\n"},
    {"token", "get", token_get,
     "[--scope SCOPES] [--audience AUD] [--format jwt|cwt] [--lifetime S]",
     "get an access token for LATCHKEY_CLIENT_ID",
     "  --scope SCOPES     space-separated; without it all that the client has\n"
     "  --audience AUD     mqtt, coap or latchkey-api\n"
     "  --format jwt|cwt   a CWT comes as base64url, ready for an MQTT password\n"
     "  --lifetime S       asks for another life than usual; also 15m, 12h, 365d\n"
     "\n"
     "Prints the token and nothing else; with --json the whole answer.\n"
     "\n"
     "Example:\n"
     "  LATCHKEY_CLIENT_ID=boiler-7 LATCHKEY_CLIENT_SECRET_FILE=boiler-7.secret \\\n"
     "    latchkey token get --format cwt\n"},
    {"token", "show", token_show, "[FILE|-]", "show what a token says, without verifying it",
     "The token (JWT, or CWT as base64url, raw or hex) comes from a file or standard input.\n"
     "\n"
     "Example:\n"
     "  latchkey token get | latchkey token show\n"},
    {"token", "revoke", token_revoke, "[FILE|-]", "take back a token of LATCHKEY_CLIENT_ID",
     "The access or refresh token comes from a file or standard input. A token that is not known\n"
     "or no good any more is revoked already.\n"
     "\n"
     "Example:\n"
     "  latchkey token revoke @old.token\n"},
    {"token", "verify", token_verify, "--jwks FILE [options] [FILE|-]",
     "verify a token offline and print its claims as JSON",
     "  --jwks FILE         a JWKS or a single JWK, public or symmetric (required)\n"
     "  --issuer URL        `iss` must be this\n"
     "  --audience AUD      `aud` must contain this\n"
     "  --at UNIX           the time to judge by; without it, now\n"
     "  --leeway S          seconds that clocks may differ; 0 without it\n"
     "  --signature-only    form, key and signature; any payload is taken\n"
     "  --external-aad HEX  what a COSE message was signed with beside its payload\n"
     "  --own               also the rules for tokens of a Latchkey server\n"
     "  --hex               the input is hex\n"
     "\n"
     "Takes a JWT, a CWT or any COSE_Sign1 or COSE_Mac0: base64url, raw or hex. `exp` must be\n"
     "there. Exit code 1 with `refused: <reason>` on stderr if the token is not good.\n"
     "\n"
     "Example:\n"
     "  latchkey token get | latchkey token verify --jwks jwks.json --audience mqtt\n"},
    {"explain", NULL, explain_run,
     "DEVICE|--token -|@FILE [--scopes FILE] publish|subscribe TOPIC [options]",
     "say which rule permits or nearly permits a topic, and what was refused lately",
     "  DEVICE           a device as the server has it; also told: what the brokers refused it\n"
     "                   lately, and whether the clocks agree\n"
     "  --token -|@FILE  the token to judge, without a server; its signature is not verified\n"
     "  --scopes FILE    the scope map; without it, the one that is built in\n"
     "  --client-id ID   the MQTT client id; without it, the token's subject\n"
     "  --qos N          quality of service to judge; 0 without it\n"
     "  --retain         judge a retained message\n"
     "  --size N         bytes of payload to judge\n"
     "\n"
     "Exit code 0 if it is allowed, 1 if it is denied.\n"
     "\n"
     "Example:\n"
     "  latchkey explain boiler-7 publish devices/boiler-7/telemetry\n"
     "  latchkey token get | latchkey explain --token - --scopes scopes.acl \\\n"
     "    publish devices/boiler-7/telemetry\n"},
    {"acl", "check", acl_check, "FILE", "check a scope map",
     "Says where a bad line is wrong and what was expected there.\n"
     "\n"
     "Example:\n"
     "  latchkey acl check /etc/latchkey/scopes.acl\n"},
    {"acl", "match", acl_match, "FILTER TOPIC", "does a topic filter match a topic?",
     "Exit code 0 for yes, 1 for no, 2 for an invalid filter or topic. `$share/GROUP/` is put\n"
     "aside first.\n"
     "\n"
     "Example:\n"
     "  latchkey acl match 'devices/+/telemetry/#' devices/boiler-7/telemetry\n"},
    {"acl", "covers", acl_covers, "RULE-FILTER FILTER",
     "does a rule's filter cover all that a filter could match?",
     "Exit code 0 for yes, 1 for no, 2 for an invalid filter.\n"
     "\n"
     "Example:\n"
     "  latchkey acl covers 'devices/+/telemetry/#' 'devices/boiler-7/#'\n"},
    {"acl", "import", acl_import, "FILE [-o FILE] [--types FILE]",
     "turn an acl_file or dynamic security's JSON into a scope map",
     "  -o, --output FILE  write the map there, and the report to standard output\n"
     "  --types FILE       write the device types there, as sections for latchkeyd.conf\n"
     "\n"
     "Without -o the map goes to standard output and the report to standard error: which scopes "
     "and\n"
     "device types there are, who gets which, and what could not be carried over, with its line.\n"
     "The map never permits more than the source. Exit code 0 if all of it is there, 1 if "
     "something\n"
     "was left out or the file is not what it should be.\n"
     "\n"
     "Example:\n"
     "  latchkey acl import /etc/mosquitto/acl -o scopes.acl\n"},
    {"doctor", NULL, doctor_run, "[--mosquitto-conf FILE] [--mosquitto PROGRAM] [--offline]",
     "find what is wrong with a broker's configuration",
     "  --mosquitto-conf FILE  without it, /etc/mosquitto/mosquitto.conf\n"
     "  --mosquitto PROGRAM    the broker, to ask for its version; without it, the installed one\n"
     "  --offline              do not ask the issuers for their keys and the time\n"
     "\n"
     "Reads the file, what it includes and the plugin's options, and looks at owners and modes: "
     "run\n"
     "it as root. With LATCHKEY_URL and LATCHKEY_CA that server is asked, too. Each finding says\n"
     "where it is, why it matters and what to do. Exit code 0 if there is none, 1 if there are, 3\n"
     "if an issuer could not be reached.\n"
     "\n"
     "Example:\n"
     "  sudo latchkey doctor\n"},
    {"watch", NULL, watch_run, "[FILTER]...", "print messages as they arrive at the broker",
     "Connects over TLS with a token of LATCHKEY_CLIENT_ID (a monitor, say), renews it in time,\n"
     "and prints topic and payload until Ctrl-C. Without FILTER: telemetry, status, presence and\n"
     "alerts. With --json one object a line.\n"
     "  LATCHKEY_MQTT_HOST   the broker; without it, the host of LATCHKEY_URL\n"
     "  LATCHKEY_MQTTS_PORT  its TLS port; 8883 without it\n"
     "\n"
     "Example:\n"
     "  latchkey watch 'devices/+/telemetry/#'\n"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void
help_command(const struct command *c)
{
    const char *space = c->name != NULL ? " " : "";
    const char *name = c->name != NULL ? c->name : "";

    (void)printf("latchkey %s%s%s %s\n\n%c%s.\n\n%s", c->group, space, name, c->arguments,
                 c->summary[0] - ('a' - 'A'), c->summary + 1, c->more);
    (void)printf("\nEvery command takes --json (output for programs) and --help.\n");
}

static void
help_list(FILE *to, const char *group)
{
    char full[32];
    size_t i;

    for (i = 0; i < COMMANDS; i++) {
        if (group != NULL && strcmp(group, commands[i].group) != 0)
            continue;
        (void)snprintf(full, sizeof(full), "%s%s%s", commands[i].group,
                       commands[i].name != NULL ? " " : "",
                       commands[i].name != NULL ? commands[i].name : "");
        (void)fprintf(to, "  %-15s  %s\n", full, commands[i].summary);
    }
}

static void
help_all(FILE *to)
{
    (void)fprintf(to, "latchkey COMMAND [ARGUMENT]... [--json]\n\n");
    help_list(to, NULL);
    (void)fprintf(
        to,
        "\n"
        "latchkey COMMAND --help shows a command's options and an example.\n"
        "\n"
        "Environment:\n"
        "  LATCHKEY_URL                 the server, https://...\n"
        "  LATCHKEY_CA                  PEM file with the CA that signed it; else the system's\n"
        "  LATCHKEY_CLIENT_ID           who you are\n"
        "  LATCHKEY_CLIENT_SECRET_FILE  file (0600) with your secret, or\n"
        "  LATCHKEY_CLIENT_SECRET       the secret itself\n"
        "\n"
        "Tokens and secrets come from `-` (standard input), @FILE or the environment, never from\n"
        "arguments: those can be read by everybody on the machine.\n"
        "\n"
        "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 could not reach.\n");
}

/* Drop an argument that may stand anywhere before a lone `--`. */
static bool
flag_take(int *argc, char **argv, const char *flag)
{
    bool found = false;
    int from, to = 1;

    for (from = 1; from < *argc; from++) {
        if (strcmp(argv[from], "--") == 0)
            break;
        if (strcmp(argv[from], flag) == 0)
            found = true;
        else
            argv[to++] = argv[from];
    }
    for (; from < *argc; from++)
        argv[to++] = argv[from];
    *argc = to;
    argv[to] = NULL;
    return found;
}

static bool
is_group(const char *name)
{
    size_t i;

    for (i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].group, name) == 0)
            return true;
    }
    return false;
}

static const struct command *
command_find(const char *group, const char *name)
{
    size_t i;

    for (i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].group, group) == 0 &&
            (commands[i].name == NULL || (name != NULL && strcmp(commands[i].name, name) == 0)))
            return &commands[i];
    }
    return NULL;
}

static int
no_such_command(int argc, char **argv, bool help)
{
    if (argc < 2) {
        help_all(help ? stdout : stderr);
        return help ? CLI_DONE : CLI_USAGE;
    }
    if (!is_group(argv[1])) {
        (void)fprintf(stderr, "latchkey: no command '%s'; see latchkey --help\n", argv[1]);
        return CLI_USAGE;
    }
    if (argc > 2 && !help)
        (void)fprintf(stderr, "latchkey %s: no command '%s'\n\n", argv[1], argv[2]);
    help_list(help ? stdout : stderr, argv[1]);
    return help && argc == 2 ? CLI_DONE : CLI_USAGE;
}

/* Filters and topics are no secrets, however random they look. */
static int
arguments_check(const struct cli *cli, const struct command *c, int argc, char **argv)
{
    const char *kind;
    int i;

    for (i = 1; i < argc && strcmp(c->group, "acl") != 0; i++) {
        kind = options_secret_kind(argv[i]);
        if (kind != NULL)
            return cli_usage(cli,
                             "argument %d looks like %s. Arguments can be read by everybody on the "
                             "machine, and the shell remembers them: give `-`, @FILE or the "
                             "environment instead, and renew what was shown here",
                             i, kind);
    }
    return CLI_DONE;
}

static int
finish(int code)
{
    /* A full disk or a closed pipe must not look like success. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        (void)fprintf(stderr, "latchkey: standard output: cannot write\n");
        return code == CLI_DONE ? CLI_REFUSED : code;
    }
    return code;
}

int
main(int argc, char **argv)
{
    const struct command *c;
    struct cli cli = {false, "--help"};
    char name[32];
    bool help;
    int skip, code;

    (void)signal(SIGPIPE, SIG_IGN);
    memory_start();
    cli.json = flag_take(&argc, argv, "--json");
    help = flag_take(&argc, argv, "--help") || flag_take(&argc, argv, "-h");
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        (void)puts("latchkey " LATCHKEY_VERSION);
        return finish(CLI_DONE);
    }
    if (argc > 1 && strcmp(argv[1], "help") == 0) {
        help = true;
        argv++, argc--;
    }
    c = argc > 1 ? command_find(argv[1], argc > 2 ? argv[2] : NULL) : NULL;
    if (c == NULL)
        return finish(no_such_command(argc, argv, help));
    if (help) {
        help_command(c);
        return finish(CLI_DONE);
    }
    (void)snprintf(name, sizeof(name), "%s%s%s", c->group, c->name != NULL ? " " : "",
                   c->name != NULL ? c->name : "");
    cli.command = name;
    skip = c->name != NULL ? 2 : 1;
    code = arguments_check(&cli, c, argc - skip, argv + skip);
    if (code == CLI_DONE)
        code = c->run(&cli, argc - skip, argv + skip);
    return finish(code);
}
