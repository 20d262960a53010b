/* What the git functions of Lua have in common: reading their options. */
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "git/git_options.h"

const char *git_ref_option(lua_State *L, const char *op, const char *name)
{
    const char *ref = opt_string(L, 1, name, NULL);
    struct err *e = git_bad_ref(op, ref, strlen(ref));
    if (!e)
        return ref;
    err_return(L, e);
    return NULL;
}

void git_check_remote(lua_State *L, const char *op)
{
    const char *remote = opt_string(L, 1, "remote", "");
    bool bad = *remote == '\0' || *remote == '-';
    for (const char *c = remote; *c; c++)
        bad = bad || (unsigned char)*c <= 0x20;
    if (bad)
        err_argument(L, op, "'remote' must be the name or URL of a remote");
}

struct git_call *git_call_common(lua_State *L, const char *op, bool read_only,
                                 git_parser parse)
{
    struct git_call *c =
        git_call_new(op, opt_string(L, 1, "dir", NULL), read_only, parse);
    c->setup->timeout = opt_seconds(L, 1, "timeout", 0);
    return c;
}

void git_args(struct git_call *c, const char *const *list)
{
    for (; *list; list++)
        proc_arg(c->setup, *list);
}

void git_call_input(struct git_call *c, struct buf *text)
{
    c->setup->input = PROC_INPUT_BYTES;
    c->setup->bytes = mem_copy(buf_text(text), text->len);
    c->setup->byte_count = text->len;
}
