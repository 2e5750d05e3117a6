/*
 * run.h - what the kinds of runs share.
 */
#ifndef LATCHKEY_LOAD_RUN_H
#define LATCHKEY_LOAD_RUN_H

#include <jansson.h>

#include "loop.h"
#include "watch.h"
#include "who.h"

/* As the command line has them. */
#define EXIT_REFUSED     1
#define EXIT_USAGE       2
#define EXIT_UNREACHABLE 3

struct run {
    const char *host;
    unsigned port;
    struct who who;
    pid_t pid; /* the broker's, to measure; 0: not */
    unsigned clients, publishers, subscribers;
    unsigned first;    /* number of the first client */
    unsigned rounds;   /* connect: how often each client comes, again with the same token */
    unsigned rate;     /* a second; 0: as fast as it goes */
    double seconds;    /* 0: until all is done */
    unsigned messages; /* of a publisher */
    unsigned size;     /* bytes of payload */
    uint8_t qos;
    bool hup; /* hold: send the broker a SIGHUP */
    bool json, progress;

    struct loop loop;
    struct link *links;
    struct person *people;
    unsigned count; /* of both */
    unsigned open;
    int code; /* first failure */
};

/* connect.c, publish.c, probe.c, hold.c: one kind each. @return an exit code; @param answer [out]
 */
int connect_run(struct run *run, json_t **answer);
int publish_run(struct run *run, json_t **answer);
int probe_run(struct run *run, json_t **answer);
int hold_run(struct run *run, json_t **answer);

/* people.c */

/** Room for so many; named by kind, the first `sensors` of them sensors; tokens made. */
int people_make(struct run *run, unsigned sensors, unsigned monitors);
void people_free(struct run *run);

/** Connect all of them and wait until they are. */
int people_connect(struct run *run);

/** Subscribe one and wait for the answer. */
int person_subscribe(struct run *run, unsigned index, const char *filter);

/** Let them leave. */
void people_leave(struct run *run);

/** Say why the run cannot go on; the first reason counts. */
int run_fail(struct run *run, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** A line on the terminal that the next one replaces. */
void run_progress(const struct run *run, const char *what, uint64_t done, uint64_t all);

#endif
