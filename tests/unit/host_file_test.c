/*
 * host_file_test.c - small files and the clocks.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <signal.h>

#include <cmocka.h>

#include <latchkey/host/clock.h>
#include <latchkey/host/file.h>

static char folder[64];

static const char *
path_of(const char *name)
{
    static char path[2][256];
    static unsigned turn;
    char *out = path[turn++ % 2];

    (void)snprintf(out, sizeof(path[0]), "%s/%s", folder, name);
    return out;
}

static int
folder_make(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/latchkey-host-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int
folder_remove(void **state)
{
    char command[96];

    (void)state;
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static void
file_put(const char *name, const char *content, size_t len, mode_t mode)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), (ssize_t)len);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(close(fd), 0);
}

static unsigned
files_count(void)
{
    DIR *dir = opendir(folder);
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count - 2;
}

static void
test_read(void **state)
{
    static const struct {
        const char *what, *content;
        size_t len, cap;
        enum lk_err err;
    } rows[] = {
        {"as long as the room", "0123456789", 10, 10, LK_OK},
        {"one byte more", "0123456789", 10, 9, LK_ERR_NO_SPACE},
        {"empty", "", 0, 10, LK_OK},
        {"empty, no room", "", 0, 0, LK_OK},
        {"one byte, no room", "0", 1, 0, LK_ERR_NO_SPACE},
        {"bytes of any kind", "\0\n\xff", 3, 10, LK_OK},
    };
    uint8_t room[16];
    struct lk_span out;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        file_put("read", rows[i].content, rows[i].len, 0644);
        enum lk_err err = lk_file_read(path_of("read"), (struct lk_buf){room, rows[i].cap}, &out);

        if (err != rows[i].err)
            fail_msg("%s: %s", rows[i].what, lk_err_name(err));
        if (err == LK_OK)
            assert_true(lk_span_equal(out, lk_span_of(rows[i].content, rows[i].len)));
        else
            assert_null(out.ptr);
    }
}

static void
test_read_refuses(void **state)
{
    uint8_t room[16];
    struct lk_span out = {room, 3};

    (void)state;
    assert_int_equal(lk_file_read(path_of("absent"), LK_BUF_OF(room), &out), LK_ERR_NOT_FOUND);
    assert_null(out.ptr);
    file_put("plain", "x", 1, 0644);
    assert_int_equal(lk_file_read(path_of("plain/below"), LK_BUF_OF(room), &out), LK_ERR_NOT_FOUND);
    assert_int_equal(lk_file_read(folder, LK_BUF_OF(room), &out), LK_ERR_IO);
    /* A FIFO that nobody writes to must be refused, not waited for. */
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(lk_file_read(path_of("fifo"), LK_BUF_OF(room), &out), LK_ERR_IO);
    assert_int_equal(lk_file_read("/dev/zero", LK_BUF_OF(room), &out), LK_ERR_IO);
}

static void
test_read_secret(void **state)
{
    static const struct {
        const char *what, *content;
        mode_t mode;
        enum lk_err err;
        const char *expected;
    } rows[] = {
        {"one line", "secret\n", 0600, LK_OK, "secret"},
        {"a line of Windows", "secret\r\n", 0600, LK_OK, "secret"},
        {"no line end", "secret", 0400, LK_OK, "secret"},
        {"only one line end is cut off", "secret\n\n", 0600, LK_OK, "secret\n"},
        {"blanks belong to it", " secret \n", 0600, LK_OK, " secret "},
        {"empty", "", 0600, LK_OK, ""},
        {"the group may read it", "secret\n", 0640, LK_ERR_PERMISSION, NULL},
        {"all may read it", "secret\n", 0604, LK_ERR_PERMISSION, NULL},
        {"the group may write it", "secret\n", 0620, LK_ERR_PERMISSION, NULL},
        {"too long", "0123456789abcdef0\n", 0600, LK_ERR_NO_SPACE, NULL},
    };
    uint8_t room[16], zero[16] = {0};
    struct lk_span out;
    enum lk_err err;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(room, 0, sizeof(room));
        file_put("secret", rows[i].content, strlen(rows[i].content), rows[i].mode);
        err = lk_file_read_secret(path_of("secret"), LK_BUF_OF(room), &out);
        if (err != rows[i].err)
            fail_msg("%s: %s", rows[i].what, lk_err_name(err));
        if (err == LK_OK)
            assert_true(lk_span_is(out, rows[i].expected));
        else
            assert_memory_equal(room, zero, sizeof(room)); /* nothing of it is left behind */
    }
}

static void
test_write(void **state)
{
    uint8_t room[64];
    struct lk_span out;
    struct stat st;

    (void)state;
    assert_int_equal(lk_file_write(path_of("new"), LK_SPAN("first"), 0600), LK_OK);
    assert_int_equal(stat(path_of("new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(lk_file_write(path_of("new"), LK_SPAN("second"), 0644), LK_OK);
    assert_int_equal(lk_file_read(path_of("new"), LK_BUF_OF(room), &out), LK_OK);
    assert_true(lk_span_is(out, "second"));
    assert_int_equal(stat(path_of("new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(lk_file_write(path_of("new"), (struct lk_span){NULL, 0}, 0600), LK_OK);
    assert_int_equal(lk_file_read(path_of("new"), LK_BUF_OF(room), &out), LK_OK);
    assert_int_equal(out.len, 0);
    assert_int_equal(files_count(), 1);
    /* A name without a slash is in the working folder. */
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(lk_file_write("here", LK_SPAN("x"), 0600), LK_OK);
    assert_int_equal(access(path_of("here"), F_OK), 0);
    assert_int_equal(chdir("/"), 0);
}

static void
test_write_leaves_nothing_half_done(void **state)
{
    static uint8_t large[65536];
    struct rlimit before, small;
    uint8_t room[16];
    struct lk_span out;

    (void)state;
    assert_int_equal(lk_file_write(path_of("kept"), LK_SPAN("old"), 0600), LK_OK);
    /* A limit on file sizes stands in for a full disk. */
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(lk_file_write(path_of("kept"), lk_span_of(large, sizeof(large)), 0600),
                     LK_ERR_IO);
    assert_int_equal(errno, EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(lk_file_read(path_of("kept"), LK_BUF_OF(room), &out), LK_OK);
    assert_true(lk_span_is(out, "old"));
    assert_int_equal(lk_file_write(path_of("no/such/folder"), LK_SPAN("x"), 0600), LK_ERR_IO);
    assert_int_equal(lk_file_write(folder, LK_SPAN("x"), 0600), LK_ERR_IO); /* a folder is there */
    assert_int_equal(files_count(), 1);
}

static void
test_dir(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(lk_dir_make(path_of("state")), LK_OK);
    assert_int_equal(stat(path_of("state"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(lk_dir_make(path_of("state")), LK_OK);
    assert_int_equal(chmod(path_of("state"), 0750), 0);
    assert_int_equal(lk_dir_make(path_of("state")), LK_ERR_PERMISSION);
    assert_int_equal(chmod(path_of("state"), 0701), 0);
    assert_int_equal(lk_dir_make(path_of("state")), LK_ERR_PERMISSION);
    file_put("plain", "", 0, 0600);
    assert_int_equal(lk_dir_make(path_of("plain")), LK_ERR_IO);
    assert_int_equal(lk_dir_make(path_of("no/such")), LK_ERR_IO);
}

static void
test_clocks(void **state)
{
    int64_t before_ms = lk_clock_monotonic_ms(), wall_ms = lk_clock_wall_ms();
    int64_t wall_s = lk_clock_wall_s();

    (void)state;
    assert_true(wall_s > INT64_C(1700000000) && wall_s < INT64_C(10000000000));
    assert_true(wall_s - wall_ms / 1000 <= 1);
    (void)usleep(3000);
    assert_true(lk_clock_monotonic_ms() - before_ms >= 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_read_refuses, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_read_secret, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_write, folder_make, folder_remove),
        cmocka_unit_test_setup_teardown(test_write_leaves_nothing_half_done, folder_make,
                                        folder_remove),
        cmocka_unit_test_setup_teardown(test_dir, folder_make, folder_remove),
        cmocka_unit_test(test_clocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
