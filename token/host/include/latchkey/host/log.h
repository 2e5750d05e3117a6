/*
 * latchkey/host/log.h - one line an event, `key=value`, for programs.
 *
 *     lk_log(LK_LOG_WARN, "enrol device=%s err=%s", lk_log_span(id), lk_err_name(err));
 *
 * Goes to stderr, with a journald prefix (<4>) when JOURNAL_STREAM is set, else with an ISO time;
 * or to a sink of the program's own (the plugin: the broker's log). Never a token, key or password;
 * text a client chose goes through lk_log_span. Lines are cut at 1 KiB. Thread-safe.
 */
#ifndef LATCHKEY_HOST_LOG_H
#define LATCHKEY_HOST_LOG_H

#include <latchkey/bytes.h>

enum lk_log_level { LK_LOG_ERROR = 3, LK_LOG_WARN = 4, LK_LOG_INFO = 6, LK_LOG_DEBUG = 7 };

typedef void (*lk_log_sink_fn)(enum lk_log_level level, const char *line);

/** @param sink  NULL: stderr. `program` is borrowed for good. */
void lk_log_init(const char *program, enum lk_log_level most, lk_log_sink_fn sink);
void lk_log(enum lk_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Text that somebody else chose, made safe for a log line: control characters, spaces, quotes,
 * backslashes and bytes that are not UTF-8 as \xNN, cut at 128 bytes.
 * @return a terminated string in one of eight rotating thread-local buffers.
 */
const char *lk_log_span(struct lk_span text);
const char *lk_log_text(const char *text); /* the same for a terminated string; NULL gives "-" */

#endif
