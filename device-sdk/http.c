#include <latchkey/device/http.h>

#include <string.h>

enum state {
    STATE_STATUS, /* collecting the status line */
    STATE_HEADER,
    STATE_BODY,
    STATE_CHUNK_SIZE,
    STATE_CHUNK,
    STATE_CHUNK_END, /* the CR LF behind a chunk */
    STATE_TRAILER,
    STATE_DONE
};

/* ---- writing ---- */

struct out {
    struct lk_buf room;
    size_t len;
    bool full;
};

static void
put(struct out *w, struct lk_span text)
{
    if (w->full || text.len > w->room.cap - w->len) {
        w->full = true;
        return;
    }
    memmove(w->room.ptr + w->len, text.ptr, text.len);
    w->len += text.len;
}

static void
put_number(struct out *w, size_t value)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);

    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(w, lk_span_of(digits + at, sizeof(digits) - at));
}

/* Visible ASCII only: nothing a caller passes can begin a header of its own. */
static bool
is_plain(struct lk_span text)
{
    size_t i;

    for (i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
            return false;
    }
    return text.len > 0;
}

enum lk_err
lk_http_request_write(const struct lk_http_request *q, struct lk_buf room, struct lk_span *out)
{
    struct out w = {room, 0, false};

    *out = (struct lk_span){NULL, 0};
    if (!is_plain(q->host) || q->host.len > LK_HTTP_HOST_MAX || !is_plain(q->path) ||
        q->path.ptr[0] != '/' || !is_plain(q->content_type))
        return LK_ERR_ARG;
    put(&w, LK_SPAN("POST "));
    put(&w, q->path);
    put(&w, LK_SPAN(" HTTP/1.1\r\nHost: "));
    put(&w, q->host);
    put(&w, LK_SPAN("\r\nConnection: close\r\nContent-Type: "));
    put(&w, q->content_type);
    put(&w, LK_SPAN("\r\nAccept: "));
    put(&w, q->content_type);
    put(&w, LK_SPAN("\r\nContent-Length: "));
    put_number(&w, q->body.len);
    put(&w, LK_SPAN("\r\n\r\n"));
    /* A body in the same room must not have been written over by the head. */
    if (q->body.len > 0 && q->body.ptr >= room.ptr && q->body.ptr < room.ptr + w.len)
        w.full = true;
    put(&w, q->body);
    if (w.full)
        return LK_ERR_NO_SPACE;
    *out = lk_span_of(room.ptr, w.len);
    return LK_OK;
}

/* ---- dates ---- */

/* -1 if these are not all digits. */
static int
number_at(struct lk_span text, size_t at, size_t digits)
{
    int value = 0;
    size_t i;

    for (i = at; i < at + digits; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return -1;
        value = value * 10 + (text.ptr[i] - '0');
    }
    return value;
}

static int
month_of(const uint8_t *name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    int i;

    for (i = 0; i < 12; i++) {
        if (memcmp(names + 3 * i, name, 3) == 0)
            return i;
    }
    return -1;
}

/* Days since 1970-01-01 of a date in the Gregorian calendar; month 0-11. */
static int32_t
days_since_1970(int year, int month, int day)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int full = year - 1; /* the last year that is over */
    int leaps = full / 4 - full / 100 + full / 400 - (1969 / 4 - 1969 / 100 + 1969 / 400);
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return (year - 1970) * 365 + leaps + before[month] + (month > 1 && is_leap) + day - 1;
}

enum lk_err
lk_http_date_parse(struct lk_span text, int64_t *seconds)
{
    static const char shape[] = "???, ?? ??? ???? ??:??:?? GMT";
    static const uint8_t month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int day, month, year, hour, minute, second;
    size_t i;

    *seconds = 0;
    if (text.len != sizeof(shape) - 1)
        return LK_ERR_SYNTAX;
    for (i = 0; i < text.len; i++) {
        if (shape[i] != '?' && text.ptr[i] != (uint8_t)shape[i])
            return LK_ERR_SYNTAX;
    }
    day = number_at(text, 5, 2);
    month = month_of(text.ptr + 8);
    year = number_at(text, 12, 4);
    hour = number_at(text, 17, 2);
    minute = number_at(text, 20, 2);
    second = number_at(text, 23, 2);
    if (day < 0 || month < 0 || year < 0 || hour < 0 || minute < 0 || second < 0)
        return LK_ERR_SYNTAX;
    if (year < 1970 || day < 1 || day > month_days[month] || hour > 23 || minute > 59 ||
        second > 60)
        return LK_ERR_RANGE;
    *seconds =
        (int64_t)days_since_1970(year, month, day) * 86400 + (hour * 3600 + minute * 60 + second);
    return LK_OK;
}

/* ---- reading ---- */

static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

static bool
is_same_word(struct lk_span text, const char *word)
{
    size_t i;

    for (i = 0; i < text.len && word[i] != '\0'; i++) {
        if (lower(text.ptr[i]) != (uint8_t)word[i])
            return false;
    }
    return i == text.len && word[i] == '\0';
}

/* tchar of RFC 9110 section 5.6.2 */
static bool
is_token_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
           memchr("!#$%&'*+-.^_`|~", c, 15) != NULL;
}

static struct lk_span
trim(struct lk_span text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Digits only, at most `max`; more is an error, not a cut. */
static bool
parse_decimal(struct lk_span text, uint64_t max, uint64_t *value)
{
    size_t i;

    *value = 0;
    for (i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        *value = *value * 10 + (uint64_t)(text.ptr[i] - '0');
        if (*value > max)
            return false;
    }
    return text.len > 0;
}

static enum lk_err
take_status_line(struct lk_http_answer *a, struct lk_span line)
{
    uint64_t status;

    if (line.len < 12 || memcmp(line.ptr, "HTTP/", 5) != 0)
        return LK_ERR_MALFORMED;
    if (memcmp(line.ptr + 5, "1.1 ", 4) != 0 && memcmp(line.ptr + 5, "1.0 ", 4) != 0)
        return LK_ERR_UNSUPPORTED;
    if (!parse_decimal(lk_span_of(line.ptr + 9, 3), 599, &status) || status < 100 ||
        (line.len > 12 && line.ptr[12] != ' '))
        return LK_ERR_MALFORMED;
    a->status = (uint16_t)status;
    a->state = STATE_HEADER;
    return LK_OK;
}

static enum lk_err
take_length(struct lk_http_answer *a, struct lk_span value)
{
    /* RFC 9112 section 6.3: two lengths, or a length and a coding, are how answers are smuggled. */
    if (a->has_length || a->is_chunked || !parse_decimal(value, UINT32_MAX, &a->left))
        return LK_ERR_MALFORMED;
    a->has_length = true;
    return LK_OK;
}

static enum lk_err
take_coding(struct lk_http_answer *a, struct lk_span value)
{
    if (a->has_length || a->is_chunked)
        return LK_ERR_MALFORMED;
    if (!is_same_word(value, "chunked"))
        return LK_ERR_UNSUPPORTED;
    a->is_chunked = true;
    return LK_OK;
}

static void
take_retry_after(struct lk_http_answer *a, struct lk_span value)
{
    uint64_t seconds;

    if (parse_decimal(value, UINT32_MAX, &seconds))
        a->retry_after_s = seconds > LK_HTTP_RETRY_MAX_S ? LK_HTTP_RETRY_MAX_S : (int32_t)seconds;
    else
        a->retry_is_date = lk_http_date_parse(value, &a->retry_date_s) == LK_OK;
}

static void
take_type(struct lk_http_answer *a, struct lk_span value)
{
    size_t i;

    for (i = 0; i < value.len && value.ptr[i] != ';'; i++)
        continue;
    a->is_ace_cbor = is_same_word(trim(lk_span_of(value.ptr, i)), "application/ace+cbor");
}

static enum lk_err
take_header(struct lk_http_answer *a, struct lk_span line)
{
    struct lk_span name = {line.ptr, 0}, value;

    while (name.len < line.len && is_token_char(line.ptr[name.len]))
        name.len++;
    if (name.len == 0 || name.len == line.len || line.ptr[name.len] != ':')
        return LK_ERR_MALFORMED;
    value = trim(lk_span_of(line.ptr + name.len + 1, line.len - name.len - 1));
    if (is_same_word(name, "content-length"))
        return a->line_cut ? LK_ERR_MALFORMED : take_length(a, value);
    if (is_same_word(name, "transfer-encoding"))
        return a->line_cut ? LK_ERR_UNSUPPORTED : take_coding(a, value);
    if (a->line_cut)
        return LK_OK;
    if (is_same_word(name, "content-type"))
        take_type(a, value);
    else if (is_same_word(name, "retry-after"))
        take_retry_after(a, value);
    else if (is_same_word(name, "date"))
        a->has_date = lk_http_date_parse(value, &a->date_s) == LK_OK;
    return LK_OK;
}

static void
finish(struct lk_http_answer *a)
{
    int64_t wait_s = a->retry_date_s - a->date_s;

    a->state = STATE_DONE;
    if (a->retry_is_date && a->has_date && a->retry_after_s < 0)
        a->retry_after_s = wait_s < 0                     ? 0
                           : wait_s > LK_HTTP_RETRY_MAX_S ? LK_HTTP_RETRY_MAX_S
                                                          : (int32_t)wait_s;
}

static enum lk_err
end_head(struct lk_http_answer *a)
{
    if (a->status < 200) { /* RFC 9110 section 15.2: the final answer is still to come */
        if (a->has_length || a->is_chunked || ++a->interim > LK_HTTP_INTERIM_MAX)
            return LK_ERR_MALFORMED;
        a->state = STATE_STATUS;
        return LK_OK;
    }
    if (a->is_chunked)
        a->state = STATE_CHUNK_SIZE;
    else if (a->left > a->room.cap)
        return LK_ERR_NO_SPACE;
    else if (a->left > 0 && a->status != 204 && a->status != 304)
        a->state = STATE_BODY;
    else
        finish(a);
    return LK_OK;
}

static enum lk_err
take_chunk_size(struct lk_http_answer *a, struct lk_span line)
{
    uint64_t size = 0;
    size_t i;

    for (i = 0; i < line.len; i++) {
        uint8_t c = lower(line.ptr[i]);

        if (c >= '0' && c <= '9')
            size = size * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            size = size * 16 + (uint64_t)(c - 'a' + 10);
        else
            break;
        if (size > LK_HTTP_CHUNK_MAX)
            return LK_ERR_LIMIT;
    }
    /* RFC 9112 section 7.1.1: extensions are ignored. */
    if (i == 0 || (i < line.len && line.ptr[i] != ';'))
        return LK_ERR_MALFORMED;
    a->left = size;
    a->state = size == 0 ? STATE_TRAILER : STATE_CHUNK;
    return size > a->room.cap - a->body.len ? LK_ERR_NO_SPACE : LK_OK;
}

static enum lk_err
take_line(struct lk_http_answer *a, struct lk_span line)
{
    switch ((enum state)a->state) {
    case STATE_STATUS:
        return take_status_line(a, line);
    case STATE_HEADER:
        return line.len == 0 ? end_head(a) : take_header(a, line);
    case STATE_CHUNK_SIZE:
        return take_chunk_size(a, line);
    case STATE_CHUNK_END:
        a->state = STATE_CHUNK_SIZE;
        return line.len == 0 ? LK_OK : LK_ERR_MALFORMED;
    case STATE_TRAILER:
        if (line.len == 0)
            finish(a);
        return LK_OK;
    case STATE_BODY:
    case STATE_CHUNK:
    case STATE_DONE:
        break;
    }
    return LK_ERR_STATE;
}

/* One byte of a line. Only the beginning of a long line is kept: no header of ours is long. */
static enum lk_err
take_line_byte(struct lk_http_answer *a, uint8_t c)
{
    struct lk_span line;
    enum lk_err err;
    bool after_cr = a->line_len > 0 && a->line[a->line_len - 1] == '\r';

    if (++a->head_len > LK_HTTP_HEAD_MAX)
        return LK_ERR_LIMIT;
    if (c == '\n') {
        if (!after_cr)
            return LK_ERR_MALFORMED;
        line = lk_span_of(a->line, a->line_len - 1u);
        err = take_line(a, line);
        a->line_len = 0;
        a->line_cut = false;
        return err;
    }
    if (after_cr || c == '\0')
        return LK_ERR_MALFORMED;
    /* The last place of the line is kept for what may turn out to be its CR. */
    if (a->line_len == LK_HTTP_LINE_MAX) {
        a->line_cut = true;
        a->line_len--;
    }
    a->line[a->line_len++] = c;
    return LK_OK;
}

static size_t
take_body(struct lk_http_answer *a, struct lk_span bytes)
{
    size_t len = bytes.len < a->left ? bytes.len : (size_t)a->left;

    memcpy(a->room.ptr + a->body.len, bytes.ptr, len);
    a->body = lk_span_of(a->room.ptr, a->body.len + len);
    a->left -= len;
    if (a->left == 0 && a->state == STATE_CHUNK)
        a->state = STATE_CHUNK_END;
    else if (a->left == 0)
        finish(a);
    return len;
}

void
lk_http_answer_open(struct lk_http_answer *answer, struct lk_buf room)
{
    *answer = (struct lk_http_answer){.retry_after_s = -1, .room = room};
}

enum lk_err
lk_http_answer_feed(struct lk_http_answer *a, struct lk_span bytes)
{
    size_t at = 0;

    while (a->err == LK_OK && at < bytes.len) {
        if (a->state == STATE_DONE)
            a->err = LK_ERR_TRAILING;
        else if (a->state == STATE_BODY || a->state == STATE_CHUNK)
            at += take_body(a, lk_span_of(bytes.ptr + at, bytes.len - at));
        else
            a->err = take_line_byte(a, bytes.ptr[at++]);
    }
    return a->err;
}

bool
lk_http_answer_is_done(const struct lk_http_answer *answer)
{
    return answer->err == LK_OK && answer->state == STATE_DONE;
}
