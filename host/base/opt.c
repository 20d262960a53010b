/* opt_check looks at the whole table and raises at the first name or type that does not
   fit; the getters then convert without checks. A raise jumps over the C functions above
   it, so a binding allocates nothing before its last check.

   A sealed value is known by its metatable, which secret/secret.c puts into the registry
   under opt_sealed_key: this folder knows no secrets.

   "Did you mean": the nearest name by edit distance, where a swap of neighbors is one
   edit. The distance is at most a third of the name's length and one. Names of NAME_LIMIT
   bytes or more are never near, which bounds the rows that are kept on the stack. */
#include "base/opt.h"

#include <lauxlib.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"

enum { NAME_LIMIT = 64 };

/* Levenshtein distance of two short names, with swapped neighbours counted once. */
static unsigned distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    if (la >= NAME_LIMIT || lb >= NAME_LIMIT)
        return UINT_MAX;
    unsigned rows[3][NAME_LIMIT + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= lb; j++)
        above[j] = before[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        unsigned *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[lb];
}

const char *opt_nearest(const char *name, const char *const *known)
{
    const char *nearest = NULL;
    unsigned best = (unsigned)strlen(name) / 3 + 2;
    for (; *known; known++) {
        unsigned d = distance(name, *known);
        if (d < best) {
            best = d;
            nearest = *known;
        }
    }
    return nearest;
}

static int raise_at(lua_State *L, struct err *e)
{
    err_locate(L, e);
    return err_raise(L, e);
}

static void unknown_option(lua_State *L, const char *op, const struct opt *options,
                           const char *name)
{
    const char *known[NAME_LIMIT + 1] = {NULL};
    for (int i = 0; options[i].name && i < NAME_LIMIT; i++)
        known[i] = options[i].name;
    const char *nearest = opt_nearest(name, known);
    struct err *e =
        err_new("input.unknown_option", op, "%s has no option '%s'", op, name);
    if (nearest)
        err_hint(e, "Did you mean '%s'?", nearest);
    raise_at(L, e);
}

static const char *wanted(enum opt_type type)
{
    switch (type) {
    case OPT_STRING:
        return "a string without NUL bytes";
    case OPT_BYTES:
        return "a string";
    case OPT_BOOLEAN:
        return "true or false";
    case OPT_INTEGER:
        return "a whole number, 0 or more";
    case OPT_SECONDS:
        return "a number of seconds, 0 or more";
    case OPT_TABLE:
        return "a table";
    case OPT_FUNCTION:
        return "a function";
    case OPT_VALUE:
        return "a string or a sealed value";
    case OPT_ANY:
        break;
    }
    return "a value";
}

const char opt_sealed_key = 0;

static bool is_sealed(lua_State *L)
{
    if (lua_type(L, -1) != LUA_TUSERDATA || !lua_getmetatable(L, -1))
        return false;
    lua_pushlightuserdata(L, (void *)&opt_sealed_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    bool sealed = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return sealed;
}

static bool fits(lua_State *L, enum opt_type type)
{
    int t = lua_type(L, -1);
    switch (type) {
    case OPT_STRING:
        return t == LUA_TSTRING && strlen(lua_tostring(L, -1)) == lua_objlen(L, -1);
    case OPT_BYTES:
        return t == LUA_TSTRING;
    case OPT_BOOLEAN:
        return t == LUA_TBOOLEAN;
    case OPT_INTEGER: {
        lua_Number n = t == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        return n >= 0 && n <= 9007199254740992.0 && floor(n) == n;
    }
    case OPT_SECONDS: {
        lua_Number n = t == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
        return n >= 0 && isfinite(n);
    }
    case OPT_TABLE:
        return t == LUA_TTABLE;
    case OPT_FUNCTION:
        return t == LUA_TFUNCTION;
    case OPT_VALUE:
        return t == LUA_TSTRING || is_sealed(L);
    case OPT_ANY:
        return true;
    }
    return false;
}

static const struct opt *find(const struct opt *options, const char *name)
{
    for (; options->name; options++)
        if (strcmp(options->name, name) == 0)
            return options;
    return NULL;
}

void opt_check(lua_State *L, int index, const char *op, const struct opt *options)
{
    if (!lua_istable(L, index))
        raise_at(L, err_new("input.invalid", op, "%s takes a table of options, not %s",
                            op, luaL_typename(L, index)));
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            raise_at(L, err_new("input.invalid", op, "%s takes named options only", op));
        const char *name = lua_tostring(L, -2);
        const struct opt *option = find(options, name);
        if (!option)
            unknown_option(L, op, options, name);
        else if (!fits(L, option->type))
            raise_at(L, err_new("input.invalid", op, "%s: option '%s' must be %s, not %s",
                                op, name, wanted(option->type), luaL_typename(L, -1)));
        lua_pop(L, 1);
    }
    for (const struct opt *option = options; option->name; option++) {
        if (!option->required)
            continue;
        lua_getfield(L, index, option->name);
        if (lua_isnil(L, -1))
            raise_at(L, err_new("input.missing_option", op, "%s needs the option '%s'",
                                op, option->name));
        lua_pop(L, 1);
    }
}

bool opt_push(lua_State *L, int index, const char *name)
{
    lua_getfield(L, index, name);
    if (!lua_isnil(L, -1))
        return true;
    lua_pop(L, 1);
    return false;
}

const char *opt_bytes(lua_State *L, int index, const char *name, size_t *len)
{
    const char *value = NULL;
    if (opt_push(L, index, name)) {
        value = lua_tolstring(L, -1, len);
        lua_pop(L, 1);
    }
    return value;
}

const char *opt_string(lua_State *L, int index, const char *name, const char *fallback)
{
    const char *value = opt_bytes(L, index, name, NULL);
    return value ? value : fallback;
}

bool opt_boolean(lua_State *L, int index, const char *name, bool fallback)
{
    bool value = fallback;
    if (opt_push(L, index, name)) {
        value = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    return value;
}

double opt_seconds(lua_State *L, int index, const char *name, double fallback)
{
    double value = fallback;
    if (opt_push(L, index, name)) {
        value = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    return value;
}

long long opt_integer(lua_State *L, int index, const char *name, long long fallback)
{
    return (long long)opt_seconds(L, index, name, (double)fallback);
}

void opt_check_strings(lua_State *L, int index, const char *name, const char *op)
{
    if (!opt_push(L, index, name))
        return;
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    size_t keys = 0;
    if (lua_istable(L, -1)) {
        lua_pushnil(L);
        while (lua_next(L, -2)) {
            keys++;
            lua_pop(L, 1);
        }
    }
    bool good = lua_istable(L, -1) && keys == count;
    for (size_t i = 1; good && i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        good = fits(L, OPT_STRING);
        lua_pop(L, 1);
    }
    if (!good)
        raise_at(L, err_new("input.invalid", op,
                            "%s: option '%s' must be a list of strings", op, name));
    lua_pop(L, 1);
}

char **opt_strings(lua_State *L, int index, const char *name, const char *op)
{
    opt_check_strings(L, index, name, op);
    if (!opt_push(L, index, name))
        return mem_array(1, sizeof(char *));
    size_t count = lua_objlen(L, -1);
    char **strings = mem_array(count + 1, sizeof *strings);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        strings[i] = mem_string(lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return strings;
}

void opt_strings_free(char **strings)
{
    for (char **s = strings; s && *s; s++)
        mem_free(*s);
    mem_free(strings);
}

/* nearest(name, list) → the nearest name of the list, or nil */
static int l_nearest(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t count = lua_objlen(L, 2);
    const char **known = lua_newuserdata(L, (count + 1) * sizeof *known);
    size_t used = 0;
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, 2, (int)i);
        if (lua_type(L, -1) == LUA_TSTRING)
            known[used++] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    known[used] = NULL;
    const char *nearest = opt_nearest(name, known);
    if (!nearest)
        return 0;
    lua_pushstring(L, nearest);
    return 1;
}

int luaopen_host_opt(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"nearest", l_nearest},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
