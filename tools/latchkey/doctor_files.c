/*
 * doctor_files.c - files the broker's account must read, folders it must own, and what is in them.
 */
#include "doctor.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

#include <latchkey/host/file.h>
#include <latchkey/policy.h>

#define PATH_LEN 1024

static void
account_find(struct doctor *d)
{
    const struct setting *user = doctor_global(d, "user");
    const struct passwd *entry;
    struct account *a = &d->account;

    a->name = user != NULL ? user->value : "mosquitto";
    entry = getpwnam(a->name);
    a->is_known = entry != NULL;
    if (!a->is_known) {
        doctor_find(d,
                    &(struct finding){"account",
                                      user != NULL ? user->at : (struct place){d->conf, 0},
                                      "the broker drops its privileges to it before it loads the "
                                      "plugin",
                                      "make the account, or name another one: user NAME"},
                    "there is no account %s for the broker to run as", a->name);
        return;
    }
    a->uid = entry->pw_uid;
    a->group_count = (int)(sizeof(a->groups) / sizeof(a->groups[0]));
    if (getgrouplist(a->name, entry->pw_gid, a->groups, &a->group_count) < 0)
        a->group_count = (int)(sizeof(a->groups) / sizeof(a->groups[0]));
}

/* May the account do this: 4 read, 2 write, 1 search? By the mode alone. */
static bool
account_may(const struct account *a, const struct stat *s, unsigned what)
{
    if (a->uid == 0)
        return true;
    if (s->st_uid == a->uid)
        return ((s->st_mode >> 6) & what) == what;
    for (int i = 0; i < a->group_count; i++)
        if (s->st_gid == a->groups[i])
            return ((s->st_mode >> 3) & what) == what;
    return (s->st_mode & what) == what;
}

/* The folder on the way the account cannot enter; false: none. */
static bool
way_is_barred(const struct account *a, const char *path, char *folder)
{
    struct stat s;

    for (const char *at = strchr(path, '/'); at != NULL; at = strchr(at + 1, '/')) {
        size_t len = at == path ? 1 : (size_t)(at - path);

        if (len >= PATH_LEN)
            return false;
        memcpy(folder, path, len);
        folder[len] = '\0';
        if (stat(folder, &s) != 0 || !account_may(a, &s, 1))
            return true;
    }
    return false;
}

static void
find_unreadable(struct doctor *d, const struct setting *s, const char *path, const char *why)
{
    char folder[PATH_LEN];
    struct stat file;
    struct finding finding = {"file-access", s->at, why, NULL};

    if (stat(path, &file) != 0) {
        finding.remedy = "make the file, or correct its name";
        doctor_find(d, &finding, "%s: %s", path, strerror(errno));
    } else if (way_is_barred(&d->account, path, folder)) {
        finding.remedy = "let the account enter the folder (x), or put the file elsewhere";
        doctor_find(d, &finding, "%s: %s cannot enter %s", path, d->account.name, folder);
    } else if (!account_may(&d->account, &file, 4)) {
        finding.remedy = "chown it to the account, or let its group read it";
        doctor_find(d, &finding, "%s cannot be read by %s", path, d->account.name);
    }
}

/* A secret: the account's own, and nobody else's. */
static void
find_shared_secret(struct doctor *d, const struct setting *s)
{
    struct stat file;

    find_unreadable(d, s, s->value, "without it the plugin does not start");
    if (stat(s->value, &file) != 0)
        return;
    if (file.st_mode & 077)
        doctor_find(d,
                    &(struct finding){"secret-mode", s->at,
                                      "the plugin refuses a secret that others may read",
                                      "chmod 600"},
                    "%s has mode %03o", s->value, (unsigned)file.st_mode & 0777);
}

static void
check_state_dir(struct doctor *d, const struct setting *given, const char *path)
{
    struct finding finding = {
        "state-dir", given != NULL ? given->at : (struct place){d->conf, 0},
        "keys and sessions are kept there, for starts without the issuer and for sleeping devices",
        NULL};
    char parent[PATH_LEN];
    struct stat s;

    (void)snprintf(parent, sizeof(parent), "%s", path);
    if (stat(path, &s) != 0) {
        if (strrchr(parent, '/') != NULL)
            *strrchr(parent, '/') = '\0';
        finding.remedy = "install -d -m 0700 -o ACCOUNT it";
        if (stat(parent[0] != '\0' ? parent : "/", &s) != 0 || !account_may(&d->account, &s, 3))
            doctor_find(d, &finding, "%s is not there, and %s cannot make it", path,
                        d->account.name);
    } else if (!S_ISDIR(s.st_mode)) {
        finding.remedy = "name a folder";
        doctor_find(d, &finding, "%s is no folder", path);
    } else if (s.st_uid != d->account.uid) {
        finding.remedy = "chown it to the broker's account";
        doctor_find(d, &finding, "%s does not belong to %s", path, d->account.name);
    } else if (s.st_mode & 077) {
        finding.remedy = "chmod 700";
        doctor_find(d, &finding, "%s has mode %03o, and others may enter it", path,
                    (unsigned)s.st_mode & 0777);
    }
}

/* An option wherever it stands: for everybody, or in an issuer's section. */
static void
each_option(struct doctor *d, const char *name,
            void (*check)(struct doctor *d, const struct setting *s))
{
    const struct setting *s = doctor_option(d, SIZE_MAX, name);

    if (s != NULL)
        check(d, s);
    for (size_t i = 0; i < d->options.count; i++) {
        s = d->options.item[i].name[0] == '[' && d->options.item[i].owner == i
                ? doctor_option(d, i, name)
                : NULL;
        if (s != NULL)
            check(d, s);
    }
}

static void
find_unreadable_option(struct doctor *d, const struct setting *s)
{
    find_unreadable(d, s, s->value, "the plugin reads it as the broker's account");
}

void
doctor_check_files(struct doctor *d)
{
    static const char *const of_broker[] = {"certfile",      "keyfile",  "cafile",  "crlfile",
                                            "password_file", "acl_file", "psk_file"};
    const struct setting *state;

    account_find(d);
    if (!d->account.is_known)
        return;
    for (size_t i = 0; i < d->broker.count; i++)
        for (size_t j = 0; j < sizeof(of_broker) / sizeof(of_broker[0]); j++)
            if (strcmp(d->broker.item[i].name, of_broker[j]) == 0)
                find_unreadable(d, &d->broker.item[i], d->broker.item[i].value,
                                "the broker reads it as this account");
    if (d->plugin == SIZE_MAX)
        return;
    find_unreadable(d, &d->broker.item[d->plugin], d->broker.item[d->plugin].value,
                    "the broker loads it as this account");
    each_option(d, "config", find_unreadable_option);
    each_option(d, "keys_file", find_unreadable_option);
    each_option(d, "ca_file", find_unreadable_option);
    each_option(d, "client_secret_file", find_shared_secret);
    state = doctor_option(d, SIZE_MAX, "state_dir");
    check_state_dir(d, state, state != NULL ? state->value : "/var/lib/latchkey/broker");
}

void
doctor_check_map(struct doctor *d)
{
    static struct lk_policy policy; /* too large for the stack */
    static uint8_t room[LK_POLICY_FILE_MAX + 1];
    static const struct setting preset = {(char *)(uintptr_t) "scopes",
                                          (char *)(uintptr_t) "/etc/latchkey/scopes.acl",
                                          {NULL, 0},
                                          SIZE_MAX};
    const struct setting *scopes = doctor_option(d, SIZE_MAX, "scopes");
    struct lk_policy_error error = {0};
    struct lk_span file;

    if (d->plugin == SIZE_MAX)
        return;
    scopes = scopes != NULL ? scopes : &preset;
    if (d->account.is_known)
        find_unreadable(d, scopes, scopes->value, "without a scope map the plugin does not start");
    if (lk_file_read(scopes->value, LK_BUF_OF(room), &file) != LK_OK ||
        lk_policy_parse(file, &policy, &error) == LK_OK)
        return;
    doctor_find(d,
                &(struct finding){"scope-map",
                                  {scopes->value, error.line},
                                  "one mistake refuses the whole map: the broker does not start, "
                                  "and on SIGHUP keeps the old one",
                                  "correct it; latchkey acl check tells when it is good"},
                "column %u: expected %s", (unsigned)error.column, error.expected);
}
