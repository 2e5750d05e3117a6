/*
 * doctor.h - what `latchkey doctor` knows of a broker: every line of its configuration and of the
 * plugin's, with the place it stands in, and the findings so far.
 */
#ifndef LATCHKEY_CLI_DOCTOR_H
#define LATCHKEY_CLI_DOCTOR_H

#include "cli.h"

#include <sys/types.h>

#include <latchkey/limits.h>

struct place {
    const char *file;
    unsigned line; /* 0: the file as a whole */
};

/** One "name value" of a file. */
struct setting {
    char *name, *value;
    struct place at;
    size_t owner; /* mosquitto.conf: index of the listener line above it, or SIZE_MAX.
                     plugin_opt_...: of the plugin line. Options file: of the section line */
};

struct settings {
    struct setting *item;
    size_t count;
};

/** The account the broker runs as. */
struct account {
    const char *name;
    bool is_known;
    uid_t uid;
    gid_t groups[64];
    int group_count;
};

struct doctor {
    const struct cli *cli;
    const char *conf, *mosquitto; /* the file; the program */
    bool offline;
    struct settings broker, options; /* mosquitto.conf; the plugin's file */
    char **files;                    /* names the places point to */
    size_t file_count;
    size_t plugin; /* index of the plugin's line; SIZE_MAX: it is not loaded */
    struct account account;
    char version[32]; /* of the broker; empty: not found */
    json_t *findings;
    bool unreachable, no_memory;
};

/* doctor_conf.c */

/** Read mosquitto.conf, what it includes, and the plugin's file. @return an exit code. */
int doctor_read(struct doctor *d);
void doctor_free(struct doctor *d);

/** The last setting of a name that is the broker's own and no listener's. NULL: none. */
const struct setting *doctor_global(const struct doctor *d, const char *name);

/** A setting of a listener (its index, SIZE_MAX: of the lines before the first one). */
const struct setting *doctor_of_listener(const struct doctor *d, size_t listener, const char *name);

/** An option of the plugin, from either file. @param section  index in d->options, or SIZE_MAX for
 * [plugin] and mosquitto.conf. */
const struct setting *doctor_option(const struct doctor *d, size_t section, const char *name);
bool setting_is(const struct setting *setting, const char *value);

/** A line of mosquitto.conf that loads a plugin. */
bool setting_loads_plugin(const struct setting *setting);
bool setting_loads_latchkey(const struct setting *setting);

struct finding {
    const char *check; /* a word for programs */
    struct place at;
    const char *why, *remedy;
};

void doctor_find(struct doctor *d, const struct finding *finding, const char *what, ...)
    __attribute__((format(printf, 3, 4)));

/* The checks. doctor_broker.c: mosquitto.conf; doctor_files.c; doctor_net.c */
void doctor_check_plugin(struct doctor *d);
void doctor_check_listeners(struct doctor *d);
void doctor_check_anonymous(struct doctor *d);
void doctor_check_version(struct doctor *d);
void doctor_check_files(struct doctor *d);
void doctor_check_map(struct doctor *d);
void doctor_check_issuers(struct doctor *d);

#endif
