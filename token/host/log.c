/*
 * log.c - one line an event, written in one piece so that threads do not mix theirs.
 */
#include <latchkey/host/log.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

#include "limits.h"

static struct {
    const char *program;
    enum lk_log_level most;
    lk_log_sink_fn sink;
    bool journal;
} state = {"latchkey", LK_LOG_INFO, NULL, false};

/* A number and the character after it. */
static bool
number_take(const char **at, char after, unsigned long long *value)
{
    char *end;

    errno = 0;
    *value = strtoull(*at, &end, 10);
    if (end == *at || errno != 0 || *end != after)
        return false;
    *at = end + 1;
    return true;
}

/* systemd sets JOURNAL_STREAM to "device:inode" of the stream; after a redirection of stderr the
 * variable is still there but no longer true (systemd.exec(5)). */
static bool
stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;

    if (stream == NULL || !number_take(&stream, ':', &device) ||
        !number_take(&stream, '\0', &inode))
        return false;
    return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void
lk_log_init(const char *program, enum lk_log_level most, lk_log_sink_fn sink)
{
    state.program = program;
    state.most = most;
    state.sink = sink;
    state.journal = stderr_is_journal();
}

static const char *
level_name(enum lk_log_level level)
{
    switch (level) {
    case LK_LOG_ERROR:
        return "error";
    case LK_LOG_WARN:
        return "warn";
    case LK_LOG_INFO:
        return "info";
    case LK_LOG_DEBUG:
        return "debug";
    }
    return "info";
}

/* A line is one line, whatever reached it. */
static void
flatten(char *line)
{
    for (; *line != '\0'; line++) {
        if ((unsigned char)*line < 0x20 || *line == 0x7f)
            *line = ' ';
    }
}

static size_t
write_prefix(enum lk_log_level level, char *out, size_t cap)
{
    struct timespec now = {0};
    struct tm utc;
    char stamp[32];
    int n;

    if (state.journal) {
        n = snprintf(out, cap, "<%d>", (int)level);
    } else {
        (void)clock_gettime(CLOCK_REALTIME, &now);
        (void)gmtime_r(&now.tv_sec, &utc);
        (void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
        n = snprintf(out, cap, "%s.%03dZ %s %s: ", stamp, (int)(now.tv_nsec / 1000000),
                     state.program, level_name(level));
    }
    if (n < 0)
        return 0;
    return (size_t)n < cap ? (size_t)n : cap - 1;
}

static void
write_stderr(enum lk_log_level level, const char *line)
{
    char out[LOG_LINE_MAX + 160];
    size_t len = write_prefix(level, out, 128);
    size_t line_len = strlen(line);
    int saved_errno = errno;

    memcpy(out + len, line, line_len);
    len += line_len;
    out[len++] = '\n';
    /* A log that cannot be written has nowhere to complain. */
    if (write(STDERR_FILENO, out, len) < 0)
        errno = saved_errno;
}

void
lk_log(enum lk_log_level level, const char *format, ...)
{
    char line[LOG_LINE_MAX + 1];
    va_list args;

    if (level > state.most)
        return;
    va_start(args, format);
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        line[0] = '\0';
    va_end(args);
    flatten(line);
    if (state.sink != NULL)
        state.sink(level, line);
    else
        write_stderr(level, line);
}

/* Bytes of the character at the front that may stand in a line as they are; 0: to be escaped. */
static size_t
plain_len(struct lk_span text)
{
    uint8_t first = text.ptr[0];
    size_t len;

    if (first < 0x80)
        return first > 0x20 && first < 0x7f && first != '"' && first != '\\' && first != '\'';
    len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (len > text.len || !lk_utf8_is_valid(lk_span_of(text.ptr, len)))
        return 0;
    /* U+0080 to U+009F are control characters too: terminals obey them. */
    if (first == 0xc2 && text.ptr[1] < 0xa0)
        return 0;
    return len;
}

const char *
lk_log_span(struct lk_span text)
{
    static const char hex[] = "0123456789abcdef";
    static _Thread_local char room[LOG_SPANS][(size_t)LOG_SPAN_MAX * 4 + sizeof("...")];
    static _Thread_local unsigned turn;
    char *out = room[turn++ % LOG_SPANS];
    size_t at = 0, to = 0, len;
    size_t most = text.len > LOG_SPAN_MAX ? LOG_SPAN_MAX : text.len;

    if (text.ptr == NULL || text.len == 0)
        return "-";
    while (at < most) {
        len = plain_len(lk_span_of(text.ptr + at, most - at));
        if (len > 0) {
            memcpy(out + to, text.ptr + at, len);
            to += len;
            at += len;
            continue;
        }
        out[to++] = '\\';
        out[to++] = 'x';
        out[to++] = hex[text.ptr[at] >> 4];
        out[to++] = hex[text.ptr[at] & 15];
        at++;
    }
    if (most < text.len) {
        memcpy(out + to, "...", 3);
        to += 3;
    }
    out[to] = '\0';
    return out;
}

const char *
lk_log_text(const char *text)
{
    return text == NULL ? "-" : lk_log_span(lk_span_of(text, strnlen(text, LOG_SPAN_MAX + 1)));
}
