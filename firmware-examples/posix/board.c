#include "board.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CA_FILE_MAX 65536 /* bytes of PEM; a CA certificate has about a thousand */

static volatile sig_atomic_t leaving;

static void
on_signal(int number)
{
    (void)number;
    leaving = 1;
}

bool
board_is_leaving(void)
{
    return leaving != 0;
}

static const char *
env(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value != NULL && value[0] != '\0' ? value : otherwise;
}

static bool
complain(const char *what, const char *name)
{
    fprintf(stderr, "%s: %s\n", name, what);
    return false;
}

/* Read a whole file and end it with a zero. A secret must be the owner's alone. */
static bool
read_file(const char *path, bool is_secret, char *room, size_t cap, size_t *len)
{
    struct stat info;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *len = 0;
    if (fd < 0 || fstat(fd, &info) != 0) {
        if (fd >= 0)
            close(fd);
        return complain("cannot be read", path);
    }
    if (is_secret && (info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        close(fd);
        return complain("is open to others; make it 0600", path);
    }
    if (info.st_size >= 0 && (size_t)info.st_size < cap)
        got = read(fd, room, cap - 1);
    close(fd);
    if (got <= 0)
        return complain("is empty or too long", path);
    room[got] = '\0';
    *len = (size_t)got;
    return true;
}

static bool
load_secret(struct board *b)
{
    const char *text = getenv("LATCHKEY_CLIENT_SECRET");
    const char *path = getenv("LATCHKEY_CLIENT_SECRET_FILE");
    size_t len = 0;

    if (text != NULL)
        snprintf(b->secret_text, sizeof(b->secret_text), "%s", text);
    else if (path == NULL)
        return complain("neither it nor LATCHKEY_CLIENT_SECRET_FILE is set",
                        "LATCHKEY_CLIENT_SECRET");
    else if (!read_file(path, true, b->secret_text, sizeof(b->secret_text), &len))
        return false;
    b->secret_text[strcspn(b->secret_text, "\r\n")] = '\0';
    b->secret = lk_span_text(b->secret_text);
    return b->secret.len > 0 || complain("is empty", "the client secret");
}

/* https://host[:port][/] */
static bool
parse_url(struct board *b, const char *url)
{
    const char *rest;
    int end = 0;

    if (url == NULL || strncmp(url, "https://", 8) != 0)
        return complain("must be https://host[:port]", "LATCHKEY_URL");
    rest = url + 8;
    snprintf(b->url_port, sizeof(b->url_port), "443");
    if (sscanf(rest, "%255[^:/]%n", b->url_host, &end) != 1)
        return complain("has no host", "LATCHKEY_URL");
    rest += end;
    end = 0;
    if (rest[0] == ':' && sscanf(rest, ":%5[0-9]%n", b->url_port, &end) != 1)
        return complain("has no valid port", "LATCHKEY_URL");
    rest += end;
    if (rest[0] != '\0' && strcmp(rest, "/") != 0)
        return complain("must be https://host[:port]", "LATCHKEY_URL");
    snprintf(b->url_authority, sizeof(b->url_authority), "%s:%s", b->url_host, b->url_port);
    b->source_host = lk_span_text(b->url_authority);
    return true;
}

static bool
load_trust(struct board *b)
{
    static char ca[CA_FILE_MAX];
    const char *path = getenv("LATCHKEY_CA");
    struct lk_tls_config config = {.random = lk_posix_random(), .wall_s = lk_posix_wall_s};
    size_t len;

    if (path == NULL)
        return complain("is not set: the CA that signed the servers' certificates, PEM",
                        "LATCHKEY_CA");
    if (!read_file(path, false, ca, sizeof(ca), &len))
        return false;
    config.ca = lk_span_of(ca, len + 1); /* mbedTLS knows PEM by its terminating zero */
    return lk_tls_init(&b->tls, &config) == LK_OK || complain("is not a certificate", path);
}

/* TLS wherever there is a TLS port; plain MQTT only inside this machine. */
static bool
connect_to_broker(struct board *b)
{
    const char *tls_port = env("LATCHKEY_MQTTS_PORT", NULL);
    const char *host = env("LATCHKEY_MQTT_HOST", "127.0.0.1");
    bool is_local = strcmp(host, "127.0.0.1") == 0 || strcmp(host, "::1") == 0 ||
                    strcmp(host, "localhost") == 0;

    b->broker_host = host;
    b->broker_port = tls_port != NULL ? tls_port : env("LATCHKEY_MQTT_PORT", "1883");
    if (tls_port == NULL && !is_local)
        return complain("is not set, and a token goes in clear over loopback only",
                        "LATCHKEY_MQTTS_PORT");
    lk_posix_tcp_init(&b->broker_tcp, host, b->broker_port);
    b->broker_link = lk_posix_tcp_transport(&b->broker_tcp);
    if (tls_port != NULL) {
        lk_tls_link_init(&b->broker_tls, &b->tls, b->broker_link, host);
        b->broker_link = lk_tls_link_transport(&b->broker_tls);
    }
    return true;
}

static bool
parse_number(const char *text, uint32_t *value)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);

    *value = (uint32_t)number;
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && number <= INT32_MAX;
}

static bool
parse_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"count", required_argument, NULL, 'c'},
        {"interval", required_argument, NULL, 'i'},
        {"lifetime", required_argument, NULL, 'l'},
        {"mqtt", required_argument, NULL, 'm'},
        {"renewals", required_argument, NULL, 'r'},
        {"bearer", no_argument, NULL, 'b'},
        {"jwt", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    uint32_t version = o->version == LK_MQTT_5 ? 5 : 3;
    bool ok = true;
    int option;

    while (ok && (option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            ok = parse_number(optarg, &o->count);
            break;
        case 'i':
            ok = parse_number(optarg, &o->interval_ms) && o->interval_ms > 0;
            break;
        case 'l':
            ok = parse_number(optarg, &o->lifetime_s);
            break;
        case 'm':
            ok = parse_number(optarg, &version) && (version == 3 || version == 5);
            break;
        case 'r':
            ok = parse_number(optarg, &o->renewals);
            break;
        case 'b':
            o->bearer = true;
            break;
        case 'j':
            o->format = LK_FORMAT_JWT;
            break;
        default:
            ok = false;
            break;
        }
    }
    o->version = version == 5 ? LK_MQTT_5 : LK_MQTT_311;
    if (!ok || optind != argc)
        fputs(o->usage, stderr);
    return ok && optind == argc;
}

bool
board_open(struct board *b, struct options defaults, int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_signal};
    const char *id = getenv("LATCHKEY_CLIENT_ID");

    memset(b, 0, sizeof(*b));
    b->options = defaults;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse_options(&b->options, argc, argv))
        return false;
    if (id == NULL || id[0] == '\0')
        return complain("is not set: the id of this device", "LATCHKEY_CLIENT_ID");
    b->id = lk_span_text(id);
    if (!load_secret(b) || !parse_url(b, getenv("LATCHKEY_URL")) || !load_trust(b) ||
        !connect_to_broker(b))
        return false;

    lk_posix_tcp_init(&b->source_tcp, b->url_host, b->url_port);
    lk_tls_link_init(&b->source_tls, &b->tls, lk_posix_tcp_transport(&b->source_tcp), b->url_host);
    b->source_link = lk_tls_link_transport(&b->source_tls);
    return sigaction(SIGINT, &action, NULL) == 0 && sigaction(SIGTERM, &action, NULL) == 0;
}

void
board_close(struct board *b)
{
    lk_tls_link_wipe(&b->source_tls);
    lk_tls_link_wipe(&b->broker_tls);
    lk_tls_wipe(&b->tls);
    lk_wipe(b->secret_text, sizeof(b->secret_text));
}

void
board_print(const struct board *b, const struct lk_device_event *e)
{
    uint64_t now_ms = lk_posix_now_ms();
    uint64_t wait_ms = e->until_ms > now_ms ? e->until_ms - now_ms : 0;

    switch (e->kind) {
    case LK_DEVICE_TOKEN:
        printf("token new renewal_in_ms=%" PRIu64 "\n", wait_ms);
        break;
    case LK_DEVICE_TOKEN_FAILED:
        printf("token failed err=%s oauth=%s again_in_ms=%" PRIu64 "\n", lk_err_name(e->err),
               lk_oauth_error_name(e->reason), wait_ms);
        break;
    case LK_DEVICE_CONNECTED:
        printf("connected broker=%s:%s mqtt=%s session=%s\n", b->broker_host, b->broker_port,
               b->options.version == LK_MQTT_5 ? "5" : "3.1.1",
               e->session_present ? "resumed" : "new");
        break;
    case LK_DEVICE_RENEWED:
        printf("renewed token on the open connection n=%" PRIu32 "\n", e->count);
        break;
    case LK_DEVICE_DISCONNECTED:
        printf("disconnected reason=0x%02x (%s) err=%s again_in_ms=%" PRIu64 "\n", e->reason,
               e->reason == 0 ? "none given" : lk_mqtt_reason_text(e->reason), lk_err_name(e->err),
               wait_ms);
        break;
    case LK_DEVICE_SUBSCRIBED:
        printf("subscribed filter=%.*s %s=0x%02x\n", (int)e->topic.len, (const char *)e->topic.ptr,
               e->reason < 0x80 ? "qos" : "refused", e->reason);
        break;
    case LK_DEVICE_PUBLISHED:
    case LK_DEVICE_MESSAGE:
    case LK_DEVICE_COMMAND:
        break; /* each device has its own words for these */
    }
}
