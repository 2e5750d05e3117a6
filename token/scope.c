#include <latchkey/scope.h>

#include <string.h>

/* RFC 6749 section 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ) */
static bool
is_scope_char(uint8_t c)
{
    return c >= 0x21 && c <= 0x7e && c != '"' && c != '\\';
}

bool
lk_scope_next(struct lk_span *rest, struct lk_span *scope)
{
    size_t start = 0;
    size_t end;

    while (start < rest->len && rest->ptr[start] == ' ')
        start++;
    end = start;
    while (end < rest->len && rest->ptr[end] != ' ')
        end++;
    if (start == end) {
        *rest = *scope = (struct lk_span){NULL, 0};
        return false;
    }
    *scope = lk_span_of(rest->ptr + start, end - start);
    *rest = lk_span_of(rest->ptr + end, rest->len - end);
    return true;
}

enum lk_err
lk_scope_check(struct lk_span scopes)
{
    struct lk_span scope;
    size_t count = 0;

    if (scopes.len > LK_SCOPE_MAX)
        return LK_ERR_LIMIT;
    while (lk_scope_next(&scopes, &scope)) {
        if (++count > LK_SCOPES_MAX)
            return LK_ERR_LIMIT;
        for (size_t i = 0; i < scope.len; i++) {
            if (!is_scope_char(scope.ptr[i]))
                return LK_ERR_SCOPE;
        }
    }
    return LK_OK;
}

/* Contracts section 3: what runs the installation itself is granted by name or not at all. */
static bool
is_never_by_wildcard(struct lk_span wanted)
{
    static const char *const resources[] = {"desk:", "bridge:", "keys:", "clients:", "tenants:"};

    for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
        size_t len = strlen(resources[i]);

        if (wanted.len >= len && memcmp(wanted.ptr, resources[i], len) == 0)
            return true;
    }
    return false;
}

/* `resource:*`: the resource is what stands before the first colon. */
static bool
is_wildcard(struct lk_span held)
{
    return held.len >= 3 && held.ptr[held.len - 1] == '*' && held.ptr[held.len - 2] == ':' &&
           memchr(held.ptr, ':', held.len - 2) == NULL;
}

bool
lk_scope_covers(struct lk_span held, struct lk_span wanted)
{
    if (held.len == 0 || wanted.len == 0)
        return false;
    if (lk_span_equal(held, wanted))
        return true;
    return is_wildcard(held) && wanted.len >= held.len &&
           memcmp(held.ptr, wanted.ptr, held.len - 1) == 0 && !is_never_by_wildcard(wanted);
}

bool
lk_scope_list_covers(struct lk_span held, struct lk_span wanted)
{
    struct lk_span scope;

    while (lk_scope_next(&held, &scope)) {
        if (lk_scope_covers(scope, wanted))
            return true;
    }
    return false;
}

bool
lk_scope_list_covers_all(struct lk_span held, struct lk_span wanted)
{
    struct lk_span scope;

    while (lk_scope_next(&wanted, &scope)) {
        if (!lk_scope_list_covers(held, scope))
            return false;
    }
    return true;
}
