/* The code of a system error is the noun of the operation and one of four kinds: ENOENT
   in "fs.read" is "fs.not_found". The field `errno` has the name of the number, for those
   who need more than the kind.

   `where` is found by name: every chunk of the stdlib is called "stdlib/…", whether it is
   embedded or read from a folder (vm.c), so the first frame of another name is the line
   of a script. */
#include "base/err.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "base/mem.h"
#include "base/modules.h"

struct field {
    struct field *next;
    char *name;
    char *text; /* NULL: a number */
    long long number;
};

struct err {
    char *code;
    char *op;
    char *msg;
    char *hint;
    struct field *fields;
};

static char *format_text(const char *format, va_list args)
{
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        return mem_string("out of memory");
    return text;
}

struct err *err_new(const char *code, const char *op, const char *format, ...)
{
    struct err *e = mem_alloc(sizeof *e);
    e->code = mem_string(code);
    e->op = mem_string(op);
    va_list args;
    va_start(args, format);
    e->msg = format_text(format, args);
    va_end(args);
    return e;
}

static struct err *system_error(const char *kind, const char *op, const char *subject,
                                const char *reason, const char *name)
{
    size_t noun = strcspn(op, ".");
    char *code = mem_format("%.*s.%s", (int)noun, op, kind);
    struct err *e = subject ? err_new(code, op, "%s: %s", subject, reason)
                            : err_new(code, op, "%s", reason);
    mem_free(code);
    err_field(e, "errno", name);
    return e;
}

static const char *kind_of(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR:
        return "not_found";
    case EACCES:
    case EPERM:
    case EROFS:
        return "denied";
    case EEXIST:
        return "exists";
    default:
        return "failed";
    }
}

struct err *err_errno(int number, const char *op, const char *subject)
{
    char reason[128];
    const char *text = strerror_r(number, reason, sizeof reason);
    const char *name = strerrorname_np(number);
    return system_error(kind_of(number), op, subject, text, name ? name : "unknown");
}

struct err *err_uv(int status, const char *op, const char *subject)
{
    char reason[128];
    char name[32];
    uv_strerror_r(status, reason, sizeof reason);
    uv_err_name_r(status, name, sizeof name);
    return system_error(kind_of(-status), op, subject, reason, name);
}

struct err *err_cancelled(const char *op)
{
    return err_new("cancelled", op, "cancelled");
}

void err_hint(struct err *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    mem_free(e->hint);
    e->hint = format_text(format, args);
    va_end(args);
}

static struct field *add_field(struct err *e, const char *name)
{
    struct field *f = mem_alloc(sizeof *f);
    f->name = mem_string(name);
    f->next = e->fields;
    e->fields = f;
    return f;
}

void err_field(struct err *e, const char *name, const char *value)
{
    add_field(e, name)->text = mem_string(value ? value : "");
}

void err_field_int(struct err *e, const char *name, long long value)
{
    add_field(e, name)->number = value;
}

const char *err_code(const struct err *e) { return e->code; }

const char *err_msg(const struct err *e) { return e->msg; }

void err_free(struct err *e)
{
    if (!e)
        return;
    while (e->fields) {
        struct field *f = e->fields;
        e->fields = f->next;
        mem_free(f->name);
        mem_free(f->text);
        mem_free(f);
    }
    mem_free(e->code);
    mem_free(e->op);
    mem_free(e->msg);
    mem_free(e->hint);
    mem_free(e);
}

/* "msg", and the hint on a line of its own. */
static int l_tostring(lua_State *L)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    lua_getfield(L, 1, "msg");
    if (!lua_isstring(L, -1)) {
        lua_pop(L, 1);
        lua_getfield(L, 1, "code");
    }
    if (!lua_isstring(L, -1)) {
        lua_pop(L, 1);
        lua_pushliteral(L, "unknown error");
    }
    luaL_addvalue(&b);
    luaL_pushresult(&b);
    lua_getfield(L, 1, "hint");
    if (lua_isstring(L, -1)) {
        lua_pushliteral(L, "\n");
        lua_insert(L, -2);
        lua_concat(L, 3);
    } else {
        lua_pop(L, 1);
    }
    return 1;
}

static const char metatable_key = 0;

void err_metatable(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&metatable_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "dgrun.err");
    lua_setfield(L, -2, "__name");
    lua_pushlightuserdata(L, (void *)&metatable_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

static void set_text(lua_State *L, const char *name, const char *value)
{
    if (!value)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void err_push(lua_State *L, struct err *e)
{
    luaL_checkstack(L, 4, "error object");
    lua_createtable(L, 0, 5);
    set_text(L, "code", e->code);
    set_text(L, "op", e->op);
    set_text(L, "msg", e->msg);
    set_text(L, "hint", e->hint);
    for (const struct field *f = e->fields; f; f = f->next) {
        if (f->text) {
            set_text(L, f->name, f->text);
        } else {
            lua_pushnumber(L, (lua_Number)f->number);
            lua_setfield(L, -2, f->name);
        }
    }
    err_metatable(L);
    lua_setmetatable(L, -2);
    err_free(e);
}

int err_return(lua_State *L, struct err *e)
{
    lua_pushnil(L);
    err_push(L, e);
    return 2;
}

int err_raise(lua_State *L, struct err *e)
{
    err_push(L, e);
    return lua_error(L);
}

/* Pushes the line of the first frame outside the stdlib; false where there is none. */
static bool push_where(lua_State *L)
{
    lua_Debug frame;
    for (int level = 1; lua_getstack(L, level, &frame); level++) {
        if (!lua_getinfo(L, "Sl", &frame) || frame.currentline <= 0)
            continue;
        if (strncmp(frame.short_src, "stdlib/", 7) == 0)
            continue;
        lua_pushfstring(L, "%s:%d", frame.short_src, frame.currentline);
        return true;
    }
    return false;
}

void err_locate(lua_State *L, struct err *e)
{
    if (!push_where(L))
        return;
    err_field(e, "where", lua_tostring(L, -1));
    lua_pop(L, 1);
}

int err_argument(lua_State *L, const char *op, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *reason = format_text(format, args);
    va_end(args);
    struct err *e = err_new("input.invalid", op, "%s: %s", op, reason);
    mem_free(reason);
    err_locate(L, e);
    return err_raise(L, e);
}

static int l_metatable(lua_State *L)
{
    err_metatable(L);
    return 1;
}

static int l_where(lua_State *L) { return push_where(L) ? 1 : 0; }

int luaopen_host_err(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"metatable", l_metatable},
        {"where", l_where},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
