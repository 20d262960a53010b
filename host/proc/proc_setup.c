/* What a child is started with: its options as Lua gives them, arguments, and an
   environment that may hold sealed values. Those stay sealed until the one moment of the
   start. */
#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/opt.h"
#include "proc/proc.h"

struct proc_var {
    char *name;
    char *value; /* NULL and no secret: the name is removed */
    struct secret *secret;
};

struct proc_setup *proc_setup_new(const char *op)
{
    struct proc_setup *s = mem_alloc(sizeof *s);
    s->op = op;
    s->grace = 5;
    s->limit = (size_t)16 << 20;
    return s;
}

void proc_setup_free(struct proc_setup *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->argc; i++)
        mem_free(s->argv[i]);
    mem_free(s->argv);
    for (size_t i = 0; i < s->var_count; i++) {
        mem_free(s->vars[i].name);
        mem_free(s->vars[i].value);
        secret_unref(s->vars[i].secret);
    }
    mem_free(s->vars);
    mem_free(s->cwd);
    mem_free(s->bytes);
    secret_unref(s->secret);
    mem_free(s);
}

void proc_arg(struct proc_setup *s, const char *text)
{
    s->argv = mem_resize(s->argv, (s->argc + 2) * sizeof *s->argv);
    s->argv[s->argc++] = mem_string(text);
    s->argv[s->argc] = NULL;
}

/* The entry of a name, emptied: a new one when the name is not changed yet. */
static struct proc_var *var_for(struct proc_setup *s, const char *name)
{
    for (size_t i = 0; i < s->var_count; i++) {
        struct proc_var *v = &s->vars[i];
        if (strcmp(v->name, name) == 0) {
            mem_free(v->value);
            secret_unref(v->secret);
            v->value = NULL;
            v->secret = NULL;
            return v;
        }
    }
    s->vars = mem_resize(s->vars, (s->var_count + 1) * sizeof *s->vars);
    struct proc_var *v = &s->vars[s->var_count++];
    *v = (struct proc_var){.name = mem_string(name)};
    return v;
}

void proc_env(struct proc_setup *s, const char *name, const char *value)
{
    var_for(s, name)->value = mem_string(value);
}

void proc_env_secret(struct proc_setup *s, const char *name, struct secret *value)
{
    var_for(s, name)->secret = secret_ref(value);
}

void proc_env_unset(struct proc_setup *s, const char *name) { var_for(s, name); }

static bool changed(const struct proc_setup *s, const char *entry)
{
    const char *equals = strchr(entry, '=');
    size_t len = equals ? (size_t)(equals - entry) : strlen(entry);
    for (size_t i = 0; i < s->var_count; i++)
        if (strlen(s->vars[i].name) == len && memcmp(s->vars[i].name, entry, len) == 0)
            return true;
    return false;
}

static char *entry_new(const struct proc_var *v)
{
    size_t name_len = strlen(v->name);
    size_t len = 0;
    const char *value = v->value;
    if (v->secret)
        value = secret_open(v->secret, &len);
    else
        len = strlen(value);
    char *entry = mem_alloc(name_len + 1 + len + 1);
    memcpy(entry, v->name, name_len);
    entry[name_len] = '=';
    if (len > 0)
        memcpy(entry + name_len + 1, value, len);
    return entry;
}

char **proc_environment(const struct proc_setup *s)
{
    size_t inherited = 0;
    if (!s->clean_env)
        while (environ && environ[inherited])
            inherited++;
    char **list = mem_array(inherited + s->var_count + 1, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < inherited; i++)
        if (!changed(s, environ[i]))
            list[n++] = mem_string(environ[i]);
    for (size_t i = 0; i < s->var_count; i++)
        if (s->vars[i].value || s->vars[i].secret)
            list[n++] = entry_new(&s->vars[i]);
    return list;
}

void proc_environment_free(char **environment)
{
    for (char **entry = environment; *entry; entry++) {
        mem_wipe(*entry, strlen(*entry));
        mem_free(*entry);
    }
    mem_free(environment);
}

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

/* The options of every child, and of a child in a session of its own. */
#define CHILD_OPTIONS                                                                    \
    {"argv", OPT_TABLE, true}, {"cwd", OPT_STRING, false}, { "env", OPT_TABLE, false }
#define SESSION_OPTIONS                                                                  \
    CHILD_OPTIONS, {"clean_env", OPT_BOOLEAN, false}, {"stdin", OPT_ANY, false},         \
        {"timeout", OPT_SECONDS, false}, {"grace", OPT_SECONDS, false},                  \
    {                                                                                    \
        "read_only", OPT_BOOLEAN, false                                                  \
    }

struct proc_setup *proc_options(lua_State *L, int index, const char *op,
                                enum proc_kind kind)
{
    static const struct opt run_options[] = {SESSION_OPTIONS,
                                             {"limit", OPT_INTEGER, false},
                                             {"seal", OPT_STRING, false},
                                             {NULL, 0, false}};
    static const struct opt spawn_options[] = {SESSION_OPTIONS, {NULL, 0, false}};
    static const struct opt foreground_options[] = {CHILD_OPTIONS, {NULL, 0, false}};
    static const struct opt detached_options[] = {CHILD_OPTIONS,
                                                  {"clean_env", OPT_BOOLEAN, false},
                                                  {"output", OPT_STRING, true},
                                                  {NULL, 0, false}};
    static const struct opt *const options[] = {[PROC_RUN] = run_options,
                                                [PROC_LINES] = spawn_options,
                                                [PROC_FOREGROUND] = foreground_options,
                                                [PROC_DETACHED] = detached_options};
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
