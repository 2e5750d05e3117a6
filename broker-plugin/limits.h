/*
 * limits.h - everything a stranger, a device or a file can make the plugin spend.
 */
#ifndef PLUGIN_LIMITS_H
#define PLUGIN_LIMITS_H

/* options */
#define OPTION_TEXT_MAX   512     /* bytes of a value: paths and URLs */
#define OPTION_NAME_MAX   48      /* bytes of an option's name */
#define OPTIONS_GIVEN_MAX 64      /* options in mosquitto.conf and the file together */
#define OPTION_FILE_MAX   65536   /* bytes of the file named by `config` */
#define OPTION_ERROR_MAX  512     /* bytes of a message about a wrong option */
#define CLIENT_SECRET_MAX 256     /* bytes of client_secret_file; ours are 43 */
#define SESSIONS_MAX_CEIL 4000000 /* most that max_sessions may say: two tables of 64 MiB */
#define CACHE_SIZE_CEIL   4194304 /* most that cache_size may say: 192 MiB */

/* logins */
#define CLIENT_ID_MAX 256 /* bytes; a subject, ':' and a suffix */
#define SUBJECT_SESSIONS                                                                           \
    4                         /* times max_connections_per_subject: sessions kept of one subject,  \
                                 so that a device with ever new suffixes drops only its own */
#define CHALLENGES_MAX  1024  /* of the method ace, waiting for an answer; each has its token */
#define CHALLENGE_MS    10000 /* to answer one: a slow radio and a slow signature */
#define AUTHZ_INFO_RATE 20    /* renewals by authz-info a second and subject: a signature each */
#define FAIL_ADDRESSES  1024  /* addresses whose failed logins are counted; power of two */

/* work of one turn of the broker's loop */
#define TURN_KICKS    50    /* 20 us each: 1 ms */
#define TURN_REAPED   200   /* sessions forgotten */
#define TURN_COMPILED 200   /* grants compiled again after a new scope map, some 5 us each */
#define TURN_BUCKETS  16384 /* places of the session table looked at, for the above or a save */
#define TURN_SAVED    200   /* sessions written into a chunk of the state file */
#define TURN_REVOKED  100   /* entries of the feed applied, 1 to 10 us each */
#define TURN_SWEPT    20000 /* places of the revocations looked at, 48 bytes each */
#define TURN_FORGED   16    /* signatures that fail, 60 us each: 1 ms */
#define TURN_PRESENCE 100   /* presence messages, some 5 us each */

/* strangers */
#define FORGED_PER_S    512 /* signatures that fail in a second: 3 % of it; as many saved up */
#define TURN_LONGEST_MS 200 /* a turn without a tick is thought to end by then */

/* metrics */
#define METRICS_PAGE_MAX 65536 /* bytes; with every method and reason some 45000 */
#define METRICS_REQUEST  4096  /* bytes of a request's head */
#define METRICS_CLIENTS  8     /* connections at once; the oldest gives way */
#define METRICS_WAIT_MS  2000  /* a request has to be here, and its answer gone, by then */
#define METRICS_PAUSE_MS 100   /* when the process has no descriptor left */
#define METRICS_FILE_MS  5000  /* between two writings of the file */

/* the last denials */
#define DENIALS_KEPT        128    /* 0.6 KB each */
#define DENIALS_OF_ONE      32     /* of one subject, or of all strangers */
#define DENIAL_TOPIC_MAX    255    /* bytes kept of a topic */
#define DENIALS_BATCH       32     /* sent at once */
#define DENIALS_BODY_MAX    131072 /* bytes: every byte of a batch may need an escape */
#define DENIALS_SEND_MS     1000   /* between two batches */
#define DENIALS_REQUEST_MS  10000  /* one request, in all */
#define DENIALS_RETRY_MIN_S 1      /* after a failure; doubles up to ... */
#define DENIALS_RETRY_MAX_S 60
#define DENIALS_ANSWER_MAX  16384   /* bytes of an answer; a token has at most 8192 */
#define DENIALS_UNKNOWN_MS  3600000 /* to an issuer that has no such endpoint */
#define BEARER_MARGIN_MS    10000   /* a token this near its end is not used any more */

/* presence */
#define PRESENCE_RETURN_MS 20000 /* after a restart, until who is not back is offline */

/* times */
#define RECHECK_WINDOW_MS 1000       /* after RELOAD, if no tick comes first */
#define DYING_MS          2000       /* a replaced session is kept so long where no tick comes */
#define TICK_EXPECTED_MS  2000       /* after the first event */
#define KICK_AGAIN_MS     1000       /* a WebSocket client leaves a little later than it is told */
#define LIFETIME_MAX_S    3153600000 /* a hundred years; keeps sums of times in range */

/* log */
#define LOG_LINE         900  /* bytes: the broker has room for 1000 with its time stamp */
#define DENIALS_BURST    50   /* lines about denied topics a session may cause at once ... */
#define DENIALS_REFILL_S 2    /* ... and one more every so many seconds; the rest is counted */
#define UNKNOWN_LOG_MS   1000 /* lines about clients nobody knows: one in so many ms */

/* background thread */
#define JWKS_MAX         262144 /* bytes of a key document */
#define KEYS_FETCH_MS    10000  /* one request, in all */
#define KEYS_ASK_MS      10000  /* an unknown kid asks for keys at most this often */
#define KEYS_RETRY_MIN_S 1      /* after a failure; doubles up to ... */
#define KEYS_RETRY_MAX_S 60
#define NOTES_MAX        256 /* messages waiting for the broker's thread */
#define WAKE_REPEAT_US   800 /* a signal just before epoll_wait is lost: repeat */
#define WAKE_REPEATS     400 /* then leave it to the next ordinary turn */
#define WAKE_IDLE_MS     500 /* longest sleep of the wake thread */

/* feed of revocations */
#define REVOCATIONS_MAX    200000 /* entries; 10 MB when full, as much again for a full list */
#define REVOCATION_SLACK_S 660    /* kept so much longer than said: the longest leeway, a minute */
#define REVOCATION_RACE_S  5      /* tokens being issued while something was revoked */
#define FEED_EPOCH_MAX     64     /* bytes of an epoch; unreserved characters of a URL */
#define FEED_KIND_MAX      32     /* bytes of a kind that the log shows */
#define FEED_BODY_MAX      16777216 /* bytes of an answer; touched as far as it reaches */
#define FEED_PAGE_MAX      200000   /* entries of an answer; ours has some thousands */
#define FEED_PAGES_WAITING 4        /* answers the broker's thread has still to work off */
#define FEED_WAIT_S        30       /* the server holds a request so long while there is no news */
#define FEED_WAIT_MORE_MS  10000    /* ... and has so much more for its answer */
#define FEED_PAUSE_MS      1000     /* after an answer without news that was not held */
#define FEED_RETRY_MIN_MS  1000     /* after a failure: anything up to this, doubled up to ... */
#define FEED_RETRY_MAX_MS  60000
#define FEED_BREAK_AFTER   5 /* failures in a row; then no two tries in less than ... */
#define FEED_BREAK_MS      10000
#define FEED_ABSENT_MS     300000 /* to an issuer that has no feed */
#define FEED_SAVE_MS       1000   /* between two writings of the file, if anything changed ... */
#define FEED_SAVE_IDLE_MS  60000  /* ... or to note how fresh it is */
#define FEED_AGE_MIN_S     5      /* least that max_feed_age may say */
#define BEARER_ANSWER_MAX  16384  /* bytes of an answer with a token, which has at most 8192 */
#define BEARER_FETCH_MS    10000  /* one request, in all */

/* state file */
#define STATE_CHUNK       65536      /* bytes handed to the background thread at once */
#define STATE_RECORD_MAX  16384      /* bytes of one session in it */
#define STATE_SLOTS       4          /* chunks under way */
#define STATE_INTERVAL_MS 5000       /* between two saves, if anything changed */
#define STATE_FINISH_MS   5000       /* at the end, to save what is left */
#define STATE_FILE_MAX    2147483648 /* bytes; more is not a file of ours */

#endif
