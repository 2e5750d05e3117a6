#include "log.h"

#include <stdarg.h>
#include <stdio.h>

#include "compat.h"
#include "limits.h"

static int
broker_level(enum lk_log_level level)
{
    switch (level) {
    case LK_LOG_ERROR:
        return MOSQ_LOG_ERR;
    case LK_LOG_WARN:
        return MOSQ_LOG_WARNING;
    case LK_LOG_INFO:
        return MOSQ_LOG_INFO;
    case LK_LOG_DEBUG:
        return MOSQ_LOG_DEBUG;
    }
    return MOSQ_LOG_INFO;
}

void
log_line(enum lk_log_level level, const char *format, ...)
{
    char line[LOG_LINE];
    va_list args;

    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = '\0';
    va_end(args);
    mosquitto_log_printf(broker_level(level), "latchkey: %s", line);
}
