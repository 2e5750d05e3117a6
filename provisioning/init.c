#include "init.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistd.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/file.h>

#include "config.h"
#include "keys/ring.h"
#include "keys/seal.h"
#include "pki.h"
#include "registry/common.h"
#include "store/store.h"
#include "templates.h"

/* What is made, in the folder. The configuration comes last: without it nothing runs, so an init
 * that was interrupted is seen to be incomplete. */
static const char *const files[] = {
    "master.key", "latchkey.db", "ca.crt",       "ca.key",        "server.crt", "server.key",
    "broker.crt", "broker.key",  "admin.secret", "broker.secret", "scopes.acl", "latchkeyd.conf"};

struct path {
    char text[CONFIG_PATH_MAX];
};

static struct path
path_in(const char *dir, const char *name)
{
    struct path path;

    if (snprintf(path.text, sizeof(path.text), "%s/%s", dir, name) >= (int)sizeof(path.text))
        path.text[0] = '\0'; /* refused by the first one who opens it */
    return path;
}

static enum lk_err
fail(const char *what, enum lk_err err)
{
    fprintf(stderr, "latchkeyd: init: %s: %s\n", what, lk_err_text(err));
    return err;
}

/** Nothing may be there already. */
static enum lk_err
folder_open(const char *dir)
{
    enum lk_err err = lk_dir_make(dir);

    if (err != LK_OK)
        return fail(dir, err);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct path path = path_in(dir, files[i]);

        if (access(path.text, F_OK) == 0)
            return fail(path.text, LK_ERR_EXISTS);
    }
    return LK_OK;
}

/* --- Configuration
 * ---------------------------------------------------------------------------------- */

/** The value of a key in the first lines of the template that have it is replaced. */
static bool
line_is(const char *line, const char *key)
{
    size_t len = strlen(key);

    return strncmp(line, key, len) == 0 && strncmp(line + len, " =", 2) == 0;
}

struct setting {
    const char *key;
    char value[CONFIG_URL_MAX];
};

static void
conf_write(FILE *out, const char *template, const struct setting *settings, size_t count)
{
    while (*template != '\0') {
        size_t len = strcspn(template, "\n");
        size_t i = 0;

        while (i < count && (settings[i].value[0] == '\0' || !line_is(template, settings[i].key)))
            i++;
        if (i < count)
            fprintf(out, "%s = %s\n", settings[i].key, settings[i].value);
        else
            fprintf(out, "%.*s\n", (int)len, template);
        template += len + (template[len] == '\n' ? 1 : 0);
    }
}

/** ADDRESS:PORT apart; false without a port. */
static bool
address_split(const char *address, char *host, size_t size, const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return false;
    *port = colon + 1;
    len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    return snprintf(host, size, "%.*s", (int)len, address) < (int)size;
}

static enum lk_err
settings_fill(const struct init_options *o, struct setting settings[5])
{
    const char *port;
    char host[CONFIG_HOST_MAX];

    memset(settings, 0, 5 * sizeof(settings[0]));
    settings[0].key = "listen";
    settings[1].key = "issuer";
    settings[2].key = "enabled";
    settings[3].key = "mqtt_host";
    settings[4].key = "mqtt_port";
    snprintf(settings[0].value, sizeof(settings[0].value), "%s",
             o->listen == NULL ? "127.0.0.1:8443" : o->listen);
    if (!address_split(settings[0].value, host, sizeof(host), &port))
        return fail("--listen: ADDRESS:PORT expected", LK_ERR_ARG);
    if (o->issuer != NULL)
        snprintf(settings[1].value, sizeof(settings[1].value), "%s", o->issuer);
    else
        snprintf(settings[1].value, sizeof(settings[1].value), "https://localhost:%s", port);
    if (o->mqtt == NULL)
        return LK_OK;
    if (!address_split(o->mqtt, host, sizeof(host), &port))
        return fail("--mqtt: HOST:PORT expected", LK_ERR_ARG);
    snprintf(settings[2].value, sizeof(settings[2].value), "yes");
    snprintf(settings[3].value, sizeof(settings[3].value), "%.*s",
             (int)sizeof(settings[3].value) - 1, host);
    snprintf(settings[4].value, sizeof(settings[4].value), "%s", port);
    return LK_OK;
}

/** Made under another name and read as the server will read it, before anything else is made. */
static enum lk_err
conf_draft(const struct init_options *o, const char *path, struct config **config)
{
    struct setting settings[5];
    struct config_error error;
    FILE *out;
    enum lk_err err = settings_fill(o, settings);

    *config = NULL;
    if (err != LK_OK)
        return err;
    out = fopen(path, "wxe");
    if (out == NULL)
        return fail(path, LK_ERR_IO);
    conf_write(out, template_conf, settings, 5);
    if (fclose(out) != 0)
        return fail(path, LK_ERR_IO);
    err = config_read(path, config, &error);
    if (err != LK_OK)
        fprintf(stderr, "latchkeyd: init: %s\n", error.text);
    return err;
}

/* --- Certificates
 * ------------------------------------------------------------------------------------ */

static void
issuer_host(const char *issuer, char *host, size_t size)
{
    const char *start = issuer + strlen("https://");
    size_t len = start[0] == '[' ? strcspn(start, "]") : strcspn(start, ":/");

    if (start[0] == '[') {
        start++;
        len--;
    }
    snprintf(host, size, "%.*s", (int)len, start);
}

static enum lk_err
certificates_make(const char *dir, const char *issuer)
{
    struct path ca = path_in(dir, "ca.crt"), ca_key = path_in(dir, "ca.key");
    struct path server = path_in(dir, "server.crt"), server_key = path_in(dir, "server.key");
    struct path broker = path_in(dir, "broker.crt"), broker_key = path_in(dir, "broker.key");
    char host[CONFIG_HOST_MAX];
    struct pki *pki;
    enum lk_err err = pki_new(ca.text, ca_key.text, &pki);

    issuer_host(issuer, host, sizeof(host));
    if (err == LK_OK)
        err = pki_issue(pki, "latchkeyd", host, server.text, server_key.text);
    if (err == LK_OK)
        err = pki_issue(pki, "broker", host, broker.text, broker_key.text);
    pki_free(pki);
    return err == LK_OK ? LK_OK : fail("certificates", err);
}

/* --- First clients
 * -------------------------------------------------------------------------------------- */

static enum lk_err
client_put(struct store_db *db, void *arg)
{
    return store_client_put(db, arg);
}

static enum lk_err
client_make(struct store *store, const char *dir, const char *id, const char *role,
            const char *secret_file)
{
    struct path path = path_in(dir, secret_file);
    struct store_client client = {.state = STORE_ACTIVE, .generation = 1};
    char line[SECRET_TEXT_LEN + 2];
    struct secret secret;
    enum lk_err err = secret_generate(&secret);

    snprintf(client.id, sizeof(client.id), "%s", id);
    snprintf(client.role, sizeof(client.role), "%s", role);
    snprintf(client.created_by, sizeof(client.created_by), "init");
    client.created_s = lk_clock_wall_s();
    memcpy(client.secret_hash, secret.hash, sizeof(client.secret_hash));
    if (err == LK_OK)
        err = store_write_wait(store, client_put, &client);
    if (err == LK_OK) {
        snprintf(line, sizeof(line), "%s\n", secret.text);
        err = lk_file_write(path.text, lk_span_of(line, SECRET_TEXT_LEN + 1), 0600);
    }
    lk_wipe(line, sizeof(line));
    lk_wipe(&secret, sizeof(secret));
    return err == LK_OK ? LK_OK : fail(id, err);
}

static enum lk_err
database_make(const char *dir)
{
    struct path master = path_in(dir, "master.key"), database = path_in(dir, "latchkey.db");
    struct store *store = NULL;
    struct seal *seal = NULL;
    enum lk_err err = seal_create(master.text);

    if (err == LK_OK)
        err = seal_open(master.text, &seal);
    if (err != LK_OK) {
        fail(master.text, err);
        goto out;
    }
    err = store_open(database.text, true, &store);
    if (err == LK_OK)
        err = ring_generate(store, seal, LK_ALG_ES256, lk_clock_wall_s());
    if (err != LK_OK) {
        fail(database.text, err);
        goto out;
    }
    err = client_make(store, dir, "admin", "admin", "admin.secret");
    if (err == LK_OK)
        err = client_make(store, dir, "broker", "verifier", "broker.secret");
out:
    store_close(store);
    seal_free(seal);
    return err;
}

/* --- All of it
 * -------------------------------------------------------------------------------------------- */

static void
say(const char *dir, const struct config *config)
{
    printf("%s is ready.\n\n"
           "  latchkeyd.conf   the configuration, with every key explained\n"
           "  scopes.acl       which scope may use which topics; the broker's plugin reads it\n"
           "  admin.secret     secret of the client \"admin\"\n"
           "  broker.secret    secret of the client \"broker\" (role verifier), for the plugin\n"
           "  master.key       encrypts keys in latchkey.db; keep a copy in a safe place\n"
           "  ca.crt, server.*, broker.*   a development CA and certificates for this machine\n\n"
           "Start it:   latchkeyd --config %s/latchkeyd.conf\n"
           "Then it is  %s\n",
           dir, dir, config->issuer);
}

enum lk_err
init_run(const struct init_options *options)
{
    struct path conf = path_in(options->dir, "latchkeyd.conf");
    struct path draft = path_in(options->dir, ".latchkeyd.conf.new");
    struct path acl = path_in(options->dir, "scopes.acl");
    struct config *config = NULL;
    enum lk_err err = folder_open(options->dir);

    if (err == LK_OK)
        err = conf_draft(options, draft.text, &config);
    if (err == LK_OK)
        err = certificates_make(options->dir, config->issuer);
    if (err == LK_OK)
        err = database_make(options->dir);
    if (err == LK_OK) {
        err = lk_file_write(acl.text, lk_span_text(template_acl), 0644);
        if (err != LK_OK)
            fail(acl.text, err);
    }
    if (err == LK_OK && rename(draft.text, conf.text) != 0)
        err = fail(conf.text, LK_ERR_IO);
    if (err == LK_OK)
        say(options->dir, config);
    else
        unlink(draft.text);
    config_drop(config);
    return err;
}
