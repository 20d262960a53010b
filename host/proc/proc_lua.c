/* host.proc: the options of a child, and the call that runs one to its end. */
#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "loop/task.h"
#include "proc/proc.h"
#include "proc/proc_lua.h"

static void check_env(lua_State *L, int index, const char *op)
{
    if (!opt_push(L, index, "env"))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        size_t name_len = 0;
        if (lua_type(L, -2) != LUA_TSTRING)
            err_argument(L, op, "names in 'env' must be strings");
        const char *name = lua_tolstring(L, -2, &name_len);
        if (name_len == 0 || strlen(name) != name_len || strchr(name, '='))
            err_argument(L, op, "'%s' cannot be the name of an environment variable",
                         name);
        size_t len = 0;
        const char *value = secret_bytes(L, -1, &len);
        bool unset = lua_isboolean(L, -1) && !lua_toboolean(L, -1);
        if (!unset && (!value || lua_type(L, -1) == LUA_TNUMBER))
            err_argument(L, op, "env.%s must be a string, a sealed value, or false",
                         name);
        if (value && memchr(value, '\0', len))
            err_argument(L, op, "env.%s holds a NUL byte", name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void check_argv(lua_State *L, int index, const char *op)
{
    opt_push(L, index, "argv");
    size_t count = lua_objlen(L, -1);
    if (count == 0)
        err_argument(L, op, "'argv' is empty: its first string is the program");
    for (size_t i = 1; i <= count; i++) {
        size_t len = 0;
        lua_rawgeti(L, -1, (int)i);
        if (secret_test(L, -1))
            err_argument(
                L, op,
                "argv[%d] is a sealed value: everyone can read a command line, use "
                "'env' or 'stdin'",
                (int)i);
        if (lua_type(L, -1) != LUA_TSTRING)
            err_argument(L, op, "argv[%d] must be a string, not a %s", (int)i,
                         luaL_typename(L, -1));
        const char *text = lua_tolstring(L, -1, &len);
        if (strlen(text) != len)
            err_argument(L, op, "argv[%d] holds a NUL byte", (int)i);
        if (i == 1 && len == 0)
            err_argument(L, op, "argv[1], the program, is empty");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void check_stdin(lua_State *L, int index, const char *op, bool lines)
{
    size_t len = 0;
    if (!opt_push(L, index, "stdin"))
        return;
    bool pipe = lines && lua_isboolean(L, -1) && lua_toboolean(L, -1);
    if (!pipe && (lua_type(L, -1) == LUA_TNUMBER || !secret_bytes(L, -1, &len)))
        err_argument(L, op, "'stdin' must be a string or a sealed value%s",
                     lines ? ", or true for a pipe that child:write fills" : "");
    lua_pop(L, 1);
}

static void read_env(lua_State *L, int index, struct proc_setup *s)
{
    if (!opt_push(L, index, "env"))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_tostring(L, -2);
        struct secret *sealed = secret_test(L, -1);
        if (sealed)
            proc_env_secret(s, name, sealed);
        else if (lua_isstring(L, -1))
            proc_env(s, name, lua_tostring(L, -1));
        else
            proc_env_unset(s, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_stdin(lua_State *L, int index, struct proc_setup *s)
{
    if (!opt_push(L, index, "stdin"))
        return;
    struct secret *sealed = secret_test(L, -1);
    if (sealed) {
        s->input = PROC_INPUT_SECRET;
        s->secret = secret_ref(sealed);
    } else if (lua_isboolean(L, -1)) {
        s->input = PROC_INPUT_PIPE;
    } else {
        const char *bytes = lua_tolstring(L, -1, &s->byte_count);
        s->input = PROC_INPUT_BYTES;
        s->bytes = mem_copy(bytes, s->byte_count);
    }
    lua_pop(L, 1);
}

struct proc_setup *proc_options(lua_State *L, int index, const char *op,
                                enum proc_kind kind)
{
    static const struct opt run_options[] = {
        {"argv", OPT_TABLE, true},
        {"cwd", OPT_STRING, false},
        {"env", OPT_TABLE, false},
        {"clean_env", OPT_BOOLEAN, false},
        {"stdin", OPT_ANY, false},
        {"timeout", OPT_SECONDS, false},
        {"grace", OPT_SECONDS, false},
        {"read_only", OPT_BOOLEAN, false},
        {"limit", OPT_INTEGER, false},
        {"seal", OPT_STRING, false},
        {NULL, 0, false},
    };
    static const struct opt spawn_options[] = {
        {"argv", OPT_TABLE, true},
        {"cwd", OPT_STRING, false},
        {"env", OPT_TABLE, false},
        {"clean_env", OPT_BOOLEAN, false},
        {"stdin", OPT_ANY, false},
        {"timeout", OPT_SECONDS, false},
        {"grace", OPT_SECONDS, false},
        {"read_only", OPT_BOOLEAN, false},
        {NULL, 0, false},
    };
    static const struct opt foreground_options[] = {
        {"argv", OPT_TABLE, true},
        {"cwd", OPT_STRING, false},
        {"env", OPT_TABLE, false},
        {NULL, 0, false},
    };
    static const struct opt *const options[] = {[PROC_RUN] = run_options,
                                                [PROC_LINES] = spawn_options,
                                                [PROC_FOREGROUND] = foreground_options};
    opt_check(L, index, op, options[kind]);
    check_argv(L, index, op);
    check_env(L, index, op);
    check_stdin(L, index, op, kind == PROC_LINES);

    struct proc_setup *s = proc_setup_new(op);
    opt_push(L, index, "argv");
    for (size_t i = 1, count = lua_objlen(L, -1); i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        proc_arg(s, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    read_env(L, index, s);
    read_stdin(L, index, s);
    s->cwd = mem_string(opt_string(L, index, "cwd", NULL));
    s->clean_env = opt_boolean(L, index, "clean_env", false);
    s->read_only = opt_boolean(L, index, "read_only", false);
    s->timeout = opt_seconds(L, index, "timeout", 0);
    s->grace = opt_seconds(L, index, "grace", s->grace);
    s->limit = (size_t)opt_integer(L, index, "limit", (long long)s->limit);
    return s;
}

int proc_signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } signals[] = {
        {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},   {"HUP", SIGHUP},
        {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"STOP", SIGSTOP},
        {"CONT", SIGCONT}, {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"WINCH", SIGWINCH},
    };
    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(signals[i].name, name) == 0)
            return signals[i].number;
    return 0;
}

/* `seal` names the sealed value that the output becomes; NULL: it stays a string. */
static int push_result(lua_State *L, const struct proc_result *r, void *seal)
{
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    if (r->signal) {
        lua_pushinteger(L, r->signal);
        lua_setfield(L, -2, "signal");
    }
    if (seal)
        secret_push(L, secret_derive(seal, buf_text(&r->out), r->out.len));
    else
        lua_pushlstring(L, buf_text(&r->out), r->out.len);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, buf_text(&r->err), r->err.len);
    lua_setfield(L, -2, "stderr");
    lua_pushnumber(L, r->seconds);
    lua_setfield(L, -2, "seconds");
    return 1;
}

/* run{…} → {status, signal, stdout, stderr, seconds} | nil, err */
static int l_run(lua_State *L)
{
    op_check(L);
    struct proc_setup *setup = proc_options(L, 1, "proc.run", PROC_RUN);
    char *seal = mem_string(opt_string(L, 1, "seal", NULL));
    return proc_run_wait(L, setup, push_result, seal, mem_free);
}

int luaopen_host_proc(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"run", l_run},
        {"spawn", l_proc_spawn},
        {"foreground", l_proc_foreground},
        {"self", proc_l_self},
        {"export", proc_l_export},
        {NULL, NULL},
    };
    proc_child_open(L);
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
