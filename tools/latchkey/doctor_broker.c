/*
 * doctor_broker.c - what in mosquitto.conf keeps the plugin from doing its work.
 */
#include "doctor.h"

#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/wait.h>

/* --- the plugin ---------------------------------------------------------------------------- */

static void
check_order(struct doctor *d)
{
    bool per_listener = setting_is(doctor_global(d, "per_listener_settings"), "true");

    for (size_t i = 0; i < d->broker.count; i++) {
        const struct setting *s = &d->broker.item[i];

        if (!setting_loads_plugin(s))
            continue;
        if (i < d->plugin)
            doctor_find(d,
                        &(struct finding){
                            "plugin-order", d->broker.item[d->plugin].at,
                            "the first plugin that knows an answer gives it, and Mosquitto 2.0 "
                            "tells no plugin of a SIGHUP behind one that answered",
                            "move the plugin line of mosquitto_latchkey.so, with its plugin_opt_ "
                            "lines, before the other"},
                        "the plugin is behind another one: %s (line %u)", s->value, s->at.line);
        else if (i > d->plugin && setting_loads_latchkey(s) && !per_listener)
            doctor_find(
                d,
                &(struct finding){"plugin-twice", s->at,
                                  "Mosquitto opens the same file once and gives the second one no "
                                  "events, without a word",
                                  "remove this line; one plugin serves all listeners, and several "
                                  "issuers are sections of its options"},
                "the plugin is loaded a second time");
    }
}

void
doctor_check_plugin(struct doctor *d)
{
    if (d->plugin == SIZE_MAX) {
        doctor_find(d,
                    &(struct finding){"plugin-missing",
                                      {d->conf, 0},
                                      "without it no token is looked at",
                                      "add: plugin .../mosquitto_latchkey.so"},
                    "no line loads mosquitto_latchkey.so");
        return;
    }
    check_order(d);
}

/* --- listeners ----------------------------------------------------------------------------- */

struct listener {
    size_t index;  /* SIZE_MAX: the one without a listener line */
    bool is_there; /* has a port or socket at all */
    struct place at;
    char port[16], bind[128];
};

static struct listener
listener_of(const struct doctor *d, size_t index)
{
    struct listener l = {.index = index};
    const struct setting *port = doctor_of_listener(d, SIZE_MAX, "port");
    const struct setting *bind = doctor_of_listener(d, SIZE_MAX, "bind_address");

    if (index != SIZE_MAX) {
        l.is_there = true;
        l.at = d->broker.item[index].at;
        (void)sscanf(d->broker.item[index].value, "%15s %127s", l.port, l.bind);
    } else if (port != NULL || bind != NULL) {
        l.is_there = true;
        l.at = port != NULL ? port->at : bind->at;
        (void)snprintf(l.port, sizeof(l.port), "%s", port != NULL ? port->value : "1883");
        (void)snprintf(l.bind, sizeof(l.bind), "%s", bind != NULL ? bind->value : "");
    }
    return l;
}

/* A listener that only this machine reaches: loopback, or a unix socket ("listener 0 PATH"). */
static bool
is_local(const struct doctor *d, const struct listener *l)
{
    const struct setting *interface = doctor_of_listener(d, l->index, "bind_interface");

    return strcmp(l->port, "0") == 0 || strncmp(l->bind, "127.", 4) == 0 ||
           strcmp(l->bind, "localhost") == 0 || strcmp(l->bind, "::1") == 0 ||
           setting_is(interface, "lo");
}

static void
check_plain(struct doctor *d, const struct listener *l)
{
    if (!l->is_there || is_local(d, l) || doctor_of_listener(d, l->index, "certfile") != NULL ||
        doctor_of_listener(d, l->index, "psk_hint") != NULL)
        return;
    doctor_find(d,
                &(struct finding){"plain-listener", l->at,
                                  "a token on its way is as good as the device itself to "
                                  "everybody who can listen",
                                  "give it certfile and keyfile, or an address of this machine "
                                  "only, such as 127.0.0.1"},
                "listener %s has no TLS and is not for this machine only", l->port);
}

static void
check_identity(struct doctor *d, const struct listener *l)
{
    static const char *const names[] = {"use_identity_as_username", "use_subject_as_username"};

    for (size_t i = 0; i < 2; i++) {
        const struct setting *s = doctor_of_listener(d, l->index, names[i]);

        if (setting_is(s, "true"))
            doctor_find(d,
                        &(struct finding){
                            "identity-listener", s->at,
                            "Mosquitto then asks no plugin about a login: these clients show no "
                            "token, and are denied every topic",
                            "remove it; require_certificate may stay"},
                        "%s on listener %s", names[i], l->is_there ? l->port : "1883");
    }
}

/* @return true if TLS was meant and is not there: more than that need not be said. */
static bool
check_tls(struct doctor *d, const struct listener *l)
{
    static const char *const names[] = {
        "keyfile", "cafile",  "capath",      "require_certificate", "tls_version",
        "ciphers", "crlfile", "dhparamfile", "tls_engine",          "ciphers_tls1.3"};
    const struct setting *cert = doctor_of_listener(d, l->index, "certfile"), *s;

    if (cert != NULL && doctor_of_listener(d, l->index, "keyfile") == NULL)
        doctor_find(d,
                    &(struct finding){"tls-incomplete", cert->at,
                                      "the listener does not start without its key", "add keyfile"},
                    "certfile without keyfile");
    if (cert != NULL || doctor_of_listener(d, l->index, "psk_hint") != NULL)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        s = doctor_of_listener(d, l->index, names[i]);
        if (s == NULL || setting_is(s, "false"))
            continue;
        doctor_find(d,
                    &(struct finding){"tls-incomplete", s->at,
                                      "without certfile and keyfile the listener speaks no TLS, "
                                      "whatever else is set",
                                      "add certfile and keyfile to this listener"},
                    "%s, but no certfile", s->name);
        return true;
    }
    return false;
}

void
doctor_check_listeners(struct doctor *d)
{
    const struct setting *per = doctor_global(d, "per_listener_settings");

    if (setting_is(per, "true"))
        doctor_find(d,
                    &(struct finding){
                        "per-listener-settings", per->at,
                        "the plugin serves only the listener it is named under, and Mosquitto "
                        "2.0.11 then never ticks: expired clients are denied, but stay connected",
                        "set it to false"},
                    "per_listener_settings is true");
    for (size_t i = 0; i <= d->broker.count; i++) {
        size_t index = i == 0 ? SIZE_MAX : i - 1;
        struct listener l;

        if (index != SIZE_MAX && strcmp(d->broker.item[index].name, "listener") != 0)
            continue;
        l = listener_of(d, index);
        if (!check_tls(d, &l))
            check_plain(d, &l);
        check_identity(d, &l);
    }
}

/* --- who gets in without a token ----------------------------------------------------------- */

void
doctor_check_anonymous(struct doctor *d)
{
    const struct setting *anonymous = doctor_global(d, "allow_anonymous");
    const struct setting *unknown = doctor_option(d, SIZE_MAX, "unknown");

    if (!setting_is(anonymous, "true") || !setting_is(unknown, "defer"))
        return;
    doctor_find(d,
                &(struct finding){"anonymous", anonymous->at,
                                  "the plugin hands on whoever shows no token, and the broker "
                                  "lets in whoever has no user name",
                                  "set allow_anonymous false, or unknown = deny"},
                "allow_anonymous is true and the plugin's unknown is defer (%s:%u)",
                unknown->at.file, unknown->at.line);
}

/* --- the broker itself --------------------------------------------------------------------- */

static bool
version_ask(const char *program, char *room, size_t cap)
{
    char *const arguments[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "-h", NULL};
    posix_spawn_file_actions_t actions;
    extern char **environ;
    ssize_t n, len = 0;
    int ends[2], status;
    pid_t pid;
    bool ran;

    if (pipe(ends) != 0)
        return false;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addclose(&actions, ends[0]);
    ran = posix_spawnp(&pid, program, &actions, NULL, arguments, environ) == 0;
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(ends[1]);
    while (ran && (n = read(ends[0], room + len, cap - 1 - (size_t)len)) > 0)
        len += n;
    room[len] = '\0';
    (void)close(ends[0]);
    return ran && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) != 127;
}

static bool
version_find(struct doctor *d)
{
    static const char *const programs[] = {"mosquitto", "/usr/sbin/mosquitto",
                                           "/usr/local/sbin/mosquitto"};
    char text[4096];
    const char *at;

    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        const char *program = d->mosquitto != NULL ? d->mosquitto : programs[i];

        if (!version_ask(program, text, sizeof(text)))
            continue;
        at = strstr(text, "mosquitto version ");
        return at != NULL && sscanf(at, "mosquitto version %31[0-9.a-zA-Z-]", d->version) == 1;
    }
    return false;
}

static const struct {
    unsigned from, to; /* major * 10000 + minor * 100 + patch; both included */
    const char *why, *remedy;
} unsupported[] = {
    {0, 20010, "the plugin needs the plugin interface of Mosquitto 2.0.11 or later",
     "install 2.0.11 (Debian 12), or 2.0.21 or later"},
    {20012, 20020,
     "the plugin is tested with 2.0.11 and from 2.0.21 on; in between the broker has "
     "known faults of its own",
     "install 2.0.21 or later"},
    {20100, 20102, "the broker frees a client before its last will is checked, and loses timers",
     "install 2.1.3 or later"},
};

void
doctor_check_version(struct doctor *d)
{
    unsigned major = 0, minor = 0, patch = 0, number;

    if (!version_find(d)) {
        doctor_find(d,
                    &(struct finding){"broker-version",
                                      {NULL, 0},
                                      "its version decides what the plugin can do",
                                      "install it, or name it: --mosquitto PROGRAM"},
                    "there is no mosquitto that says its version");
        return;
    }
    (void)sscanf(d->version, "%u.%u.%u", &major, &minor, &patch);
    number = major * 10000 + minor * 100 + patch;
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++)
        if (number >= unsupported[i].from && number <= unsupported[i].to)
            doctor_find(d,
                        &(struct finding){
                            "broker-version", {NULL, 0}, unsupported[i].why, unsupported[i].remedy},
                        "Mosquitto %s is not supported", d->version);
}
