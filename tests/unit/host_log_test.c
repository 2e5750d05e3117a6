/*
 * host_log_test.c - log lines stay one line, whatever reaches them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <latchkey/host/log.h>

static char last[2048];
static enum lk_log_level last_level;
static unsigned lines;

static void
sink(enum lk_log_level level, const char *line)
{
    last_level = level;
    (void)snprintf(last, sizeof(last), "%s", line);
    lines++;
}

static void
test_span(void **state)
{
    static const struct {
        const char *what;
        struct lk_span in;
        const char *out;
    } rows[] = {
        {"plain", {(const uint8_t *)"pump-7", 6}, "pump-7"},
        {"nothing", {NULL, 0}, "-"},
        {"empty", {(const uint8_t *)"", 0}, "-"},
        {"a line end", {(const uint8_t *)"a\nb", 3}, "a\\x0ab"},
        {"a forged field", {(const uint8_t *)"a err=OK", 8}, "a\\x20err=OK"},
        {"an escape sequence", {(const uint8_t *)"\x1b[2J", 4}, "\\x1b[2J"},
        {"quotes and backslash", {(const uint8_t *)"\"'\\", 3}, "\\x22\\x27\\x5c"},
        {"NUL and DEL", {(const uint8_t *)"\0\x7f", 2}, "\\x00\\x7f"},
        {"UTF-8",
         {(const uint8_t *)"f\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", 10},
         "f\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a control character of two bytes", {(const uint8_t *)"\xc2\x9b", 2}, "\\xc2\\x9b"},
        {"overlong", {(const uint8_t *)"\xc0\xaf", 2}, "\\xc0\\xaf"},
        {"a surrogate", {(const uint8_t *)"\xed\xa0\x80", 3}, "\\xed\\xa0\\x80"},
        {"cut inside a character", {(const uint8_t *)"a\xe2\x82", 3}, "a\\xe2\\x82"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strcmp(lk_log_span(rows[i].in), rows[i].out) != 0)
            fail_msg("%s: %s", rows[i].what, lk_log_span(rows[i].in));
    }
    assert_string_equal(lk_log_text(NULL), "-");
    assert_string_equal(lk_log_text("a b"), "a\\x20b");
}

static void
test_span_is_cut(void **state)
{
    uint8_t text[300];
    const char *out;

    (void)state;
    memset(text, 1, sizeof(text));
    out = lk_log_span(lk_span_of(text, 128));
    assert_int_equal(strlen(out), 128 * 4);
    out = lk_log_span(lk_span_of(text, 129));
    assert_int_equal(strlen(out), 128 * 4 + 3);
    assert_string_equal(out + 128 * 4, "...");
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = 0;
    assert_int_equal(strlen(lk_log_text((const char *)text)), 131);
}

static void
test_eight_spans_live_together(void **state)
{
    const char *out[8];
    char text[2] = "0";
    size_t i;

    (void)state;
    for (i = 0; i < 8; i++) {
        text[0] = (char)('0' + i);
        out[i] = lk_log_text(text);
    }
    for (i = 0; i < 8; i++)
        assert_int_equal(out[i][0], '0' + (int)i);
}

static void
test_levels_and_lines(void **state)
{
    char large[4096];

    (void)state;
    lk_log_init("test", LK_LOG_INFO, sink);
    lines = 0;
    lk_log(LK_LOG_DEBUG, "not wanted");
    assert_int_equal(lines, 0);
    lk_log(LK_LOG_WARN, "device=%s n=%d", "a", 3);
    assert_int_equal(last_level, LK_LOG_WARN);
    assert_string_equal(last, "device=a n=3");
    lk_log(LK_LOG_ERROR, "one\ntwo\x1b");
    assert_string_equal(last, "one two ");
    memset(large, 'x', sizeof(large) - 1);
    large[sizeof(large) - 1] = '\0';
    lk_log(LK_LOG_INFO, "%s", large);
    assert_int_equal(strlen(last), 1024);
}

/* JOURNAL_STREAM from a text in which D and I stand for stderr's device and inode. */
static void
stream_write(const struct stat *st, const char *text, char *out, size_t cap)
{
    size_t len = 0;

    for (; *text != '\0'; text++) {
        if (*text == 'D')
            len += (size_t)snprintf(out + len, cap - len, "%ju", (uintmax_t)st->st_dev);
        else if (*text == 'I')
            len += (size_t)snprintf(out + len, cap - len, "%ju", (uintmax_t)st->st_ino);
        else
            out[len++] = *text;
    }
    out[len] = '\0';
}

/* What a line on stderr looks like, read back through a file. `journal` NULL: no JOURNAL_STREAM. */
static void
stderr_catch(char *room, size_t cap, const char *journal)
{
    char path[] = "/tmp/latchkey-log-XXXXXX", stream[64];
    int fd = mkstemp(path), saved = dup(STDERR_FILENO);
    struct stat st;
    ssize_t n;

    assert_true(fd >= 0 && saved >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fstat(fd, &st), 0);
    if (journal != NULL) {
        stream_write(&st, journal, stream, sizeof(stream));
        assert_int_equal(setenv("JOURNAL_STREAM", stream, 1), 0);
    }
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    lk_log_init("latchkeyd", LK_LOG_INFO, NULL);
    lk_log(LK_LOG_WARN, "enrol device=%s", "pump-7");
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    n = pread(fd, room, cap - 1, 0);
    assert_true(n > 0);
    room[n] = '\0';
    (void)close(fd);
    (void)close(saved);
    (void)unsetenv("JOURNAL_STREAM");
}

static void
test_stderr(void **state)
{
    /* The variable is inherited by those whose stderr is not the journal any more. */
    static const char *const others[] = {
        NULL,   "",     "D",   "D:",  ":I",  "D:1I",
        "1D:I", "D:Ix", "D;I", "x:I", "D:x", "D:99999999999999999999",
    };
    char line[256];

    (void)state;
    stderr_catch(line, sizeof(line), "D:I");
    assert_string_equal(line, "<4>enrol device=pump-7\n");
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        stderr_catch(line, sizeof(line), others[i]);
        assert_int_equal(line[4], '-');
        assert_int_equal(line[10], 'T');
        assert_non_null(strstr(line, "Z latchkeyd warn: enrol device=pump-7\n"));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span),
        cmocka_unit_test(test_span_is_cut),
        cmocka_unit_test(test_eight_spans_live_together),
        cmocka_unit_test(test_levels_and_lines),
        cmocka_unit_test(test_stderr),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
