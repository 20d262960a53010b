/* host.stdin: what others give this process on its standard input, read to its end into a
   sealed value. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "loop/task.h"
#include "secret/secret.h"
#include "secret/vault.h"

static const char op_name[] = "stdin.read";

enum { LIMIT = 1024 * 1024 };

struct reading {
    struct op op;
    uv_poll_t poll;
    int flags; /* of the description, which others may share */
    char *name;
    char *bytes; /* limit + 1 of them in the vault */
    size_t len, limit;
    bool ended;
    struct err *error;
};

/* As much as is there; true when that was all, or when it failed. */
static bool drain(struct reading *r)
{
    for (;;) {
        ssize_t n = read(STDIN_FILENO, r->bytes + r->len, r->limit + 1 - r->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (n < 0)
            r->error = err_errno(errno, op_name, "standard input");
        else if ((r->len += (size_t)n) > r->limit)
            r->error = err_new("stdin.too_large", op_name,
                               "standard input: more than %zu bytes", r->limit);
        else if (n > 0)
            continue;
        r->ended = true;
        return true;
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct reading *r = handle->data;
    (void)fcntl(STDIN_FILENO, F_SETFL, r->flags);
    op_done(&r->op);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct reading *r = poll->data;
    if (status < 0) {
        r->error = err_uv(status, op_name, "standard input");
        r->ended = true;
    }
    if (r->ended || drain(r))
        uv_close((uv_handle_t *)poll, on_closed);
}

static void reading_cancel(struct op *op)
{
    struct reading *r = (struct reading *)op;
    if (!uv_is_closing((uv_handle_t *)&r->poll))
        uv_close((uv_handle_t *)&r->poll, on_closed);
}

static int reading_push(struct op *op, lua_State *L)
{
    struct reading *r = (struct reading *)op;
    struct err *e = r->error;
    r->error = NULL;
    if (e)
        return err_return(L, e);
    if (!r->ended)
        return err_return(L, err_cancelled(op_name));
    secret_push(L, secret_new(r->name, r->bytes, r->len));
    return 1;
}

static void reading_destroy(struct op *op)
{
    struct reading *r = (struct reading *)op;
    vault_free(r->bytes, r->limit + 1);
    err_free(r->error);
    mem_free(r->name);
    mem_free(r);
}

/* read(name, {limit=bytes}) → sealed | nil, err */
static int l_read(lua_State *L)
{
    static const struct opt options[] = {{"limit", OPT_INTEGER, false}, {NULL, 0, false}};
    op_check(L);
    const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
    if (!name || !*name)
        return err_argument(L, op_name, "needs a name for the value");
    size_t limit = LIMIT;
    if (!lua_isnoneornil(L, 2)) {
        opt_check(L, 2, op_name, options);
        limit = (size_t)opt_integer(L, 2, "limit", LIMIT);
    }
    if (limit > LIMIT)
        return err_argument(L, op_name, "the limit is %d bytes", LIMIT);
    if (op_cancelled(L))
        return err_return(L, err_cancelled(op_name));
    struct reading *r = mem_alloc(sizeof *r);
    r->op.cancel = reading_cancel;
    r->op.push = reading_push;
    r->op.destroy = reading_destroy;
    r->poll.data = r;
    r->name = mem_string(name);
    r->limit = limit;
    r->bytes = vault_alloc(limit + 1);
    r->flags = fcntl(STDIN_FILENO, F_GETFL);
    if (uv_poll_init(task_loop(L), &r->poll, STDIN_FILENO) == 0) {
        uv_poll_start(&r->poll, UV_READABLE, on_poll);
    } else {
        /* A file or /dev/null: it never waits, and cannot be watched. */
        drain(r);
        op_done(&r->op);
    }
    return op_wait(L, &r->op);
}

int luaopen_host_stdin(lua_State *L)
{
    static const luaL_Reg funcs[] = {{"read", l_read}, {NULL, NULL}};
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
