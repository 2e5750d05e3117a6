/*
 * log.h - the broker's log, for the broker's own thread only. (The background thread sends its
 * lines over: worker.h.) Text that somebody else chose goes through lk_log_text or lk_log_span.
 */
#ifndef PLUGIN_LOG_H
#define PLUGIN_LOG_H

#include <latchkey/host/log.h>

/** One line, with "latchkey: " before it. Never a token, key or password. */
void log_line(enum lk_log_level level, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
