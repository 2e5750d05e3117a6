#include <latchkey/err.h>

#include <stddef.h>

static const struct {
    enum lk_err err;
    const char *name;
    const char *text;
} errors[] = {
#define LK_ERR_ROW(name, number, text) {LK_ERR_##name, #name, text},
    LK_ERR_LIST(LK_ERR_ROW)
#undef LK_ERR_ROW
};

const char *
lk_err_name(enum lk_err err)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].err == err)
            return errors[i].name;
    return "UNKNOWN";
}

const char *
lk_err_text(enum lk_err err)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].err == err)
            return errors[i].text;
    return "an error that is not on the list";
}
