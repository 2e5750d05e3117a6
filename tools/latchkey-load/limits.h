/*
 * limits.h - what a run may take.
 */
#ifndef LATCHKEY_LOAD_LIMITS_H
#define LATCHKEY_LOAD_LIMITS_H

#define CLIENTS_MAX   200000  /* connections of one run; beyond it, more processes */
#define LINK_ROOM     16384   /* bytes each way and connection; touched only when used */
#define PAYLOAD_MAX   8192    /* bytes of a message */
#define KEY_FILE_MAX  4096    /* bytes of the private JWK */
#define IN_FLIGHT_MAX 64      /* connections being made at a time */
#define WINDOW_MAX    64      /* messages a publisher is ahead of its slowest subscriber */
#define EVENTS_MAX    256     /* epoll events looked at in one go */
#define SAMPLES_MAX   2000000 /* latencies kept */
#define ANSWER_MS     30000   /* a broker silent for so long has failed the run */
#define PROGRESS_MS   500     /* between two lines of progress */

#endif
