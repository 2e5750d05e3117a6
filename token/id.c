#include <latchkey/id.h>

#include <string.h>

#include <latchkey/limits.h>

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool
is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool
lk_tenant_is_valid(struct lk_span tenant)
{
    if (tenant.len == 0 || tenant.len > LK_TENANT_MAX)
        return false;
    for (size_t i = 0; i < tenant.len; i++) {
        uint8_t c = tenant.ptr[i];

        if (!(c >= 'a' && c <= 'z') && !is_digit(c) && c != '-')
            return false;
    }
    return true;
}

static bool
name_is_valid(struct lk_span name)
{
    if (name.len == 0 || name.len > LK_ID_MAX)
        return false;
    if (!is_letter(name.ptr[0]) && !is_digit(name.ptr[0]))
        return false;
    for (size_t i = 1; i < name.len; i++) {
        uint8_t c = name.ptr[i];

        if (!is_letter(c) && !is_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

bool
lk_id_is_valid(struct lk_span id)
{
    const uint8_t *tilde;
    size_t tenant_len;

    if (id.len == 0 || id.len > LK_SUBJECT_MAX)
        return false;
    tilde = memchr(id.ptr, '~', id.len);
    if (tilde == NULL)
        return name_is_valid(id);
    tenant_len = (size_t)(tilde - id.ptr);
    return lk_tenant_is_valid(lk_span_of(id.ptr, tenant_len)) &&
           name_is_valid(lk_span_of(tilde + 1, id.len - tenant_len - 1));
}

bool
lk_id_owns_client_id(struct lk_span subject, struct lk_span client_id)
{
    if (subject.len == 0 || client_id.len < subject.len ||
        memcmp(client_id.ptr, subject.ptr, subject.len) != 0)
        return false;
    if (client_id.len == subject.len)
        return true;
    return client_id.ptr[subject.len] == ':' && client_id.len > subject.len + 1;
}
