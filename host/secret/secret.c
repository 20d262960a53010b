/* A value is one struct with counted references: a box of Lua holds one, and so does each
   owner in C, such as a request that is being sent. The bytes have pages of their own
   (vault.c).

   secret_new registers the value with the redactor before the value exists, so there is
   no moment in which it could be printed unmasked. secret_derive does not register: it is
   for bytes whose secret part is registered already, and a pattern for each concatenation
   would only make the automaton larger. */
#include "secret/secret.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json_text.h"
#include "base/mem.h"
#include "base/opt.h"
#include "secret/redact.h"
#include "secret/vault.h"

struct secret {
    unsigned refs;
    char *name;
    char *data; /* in the vault, NUL behind it */
    size_t len;
};

struct secret *secret_derive(const char *name, const void *data, size_t len)
{
    struct secret *s = mem_alloc(sizeof *s);
    s->refs = 1;
    s->name = mem_string(name);
    s->len = len;
    s->data = vault_alloc(len + 1);
    if (len)
        memcpy(s->data, data, len);
    return s;
}

struct secret *secret_new(const char *name, const void *data, size_t len)
{
    redact_register(data, len);
    return secret_derive(name, data, len);
}

struct secret *secret_ref(struct secret *s)
{
    s->refs++;
    return s;
}

void secret_unref(struct secret *s)
{
    if (!s || --s->refs)
        return;
    vault_free(s->data, s->len + 1);
    mem_free(s->name);
    mem_free(s);
}

const char *secret_name(const struct secret *s) { return s->name; }

const char *secret_open(const struct secret *s, size_t *len)
{
    if (len)
        *len = s->len;
    return s->data;
}

/* Takes the same time wherever the first difference is. */
static bool equal(const struct secret *a, const struct secret *b)
{
    if (a->len != b->len)
        return false;
    unsigned char difference = 0;
    for (size_t i = 0; i < a->len; i++)
        difference |= (unsigned char)(a->data[i] ^ b->data[i]);
    return difference == 0;
}

/* The Lua face: a userdata that holds one reference, with a metatable scripts cannot get
 * at. */

static void push_metatable(lua_State *L);

void secret_push(lua_State *L, struct secret *s)
{
    struct secret **box = lua_newuserdata(L, sizeof(void *));
    *box = NULL;
    push_metatable(L);
    lua_setmetatable(L, -2);
    *box = s;
}

struct secret *secret_test(lua_State *L, int index)
{
    struct secret **box =
        lua_type(L, index) == LUA_TUSERDATA ? lua_touserdata(L, index) : NULL;
    if (!box || !lua_getmetatable(L, index))
        return NULL;
    push_metatable(L);
    bool ours = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return ours ? *box : NULL;
}

const char *secret_bytes(lua_State *L, int index, size_t *len)
{
    if (lua_type(L, index) == LUA_TSTRING)
        return lua_tolstring(L, index, len);
    const struct secret *s = secret_test(L, index);
    return s ? secret_open(s, len) : NULL;
}

struct secret *secret_check(lua_State *L, const char *op)
{
    struct secret *s = secret_test(L, 1);
    if (!s)
        err_argument(L, op, "needs a sealed value, not %s", luaL_typename(L, 1));
    return s;
}

const char *secret_check_name(lua_State *L, int index, const char *op)
{
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : NULL;
    size_t len = name ? lua_objlen(L, index) : 0;
    bool good = len > 0 && len <= 256;
    for (size_t i = 0; i < len; i++)
        good = good && (unsigned char)name[i] >= ' ' && name[i] != 0x7f;
    if (!good)
        err_argument(L, op, "the name must be a short printable string");
    return name;
}

static int l_gc(lua_State *L)
{
    struct secret **box = lua_touserdata(L, 1);
    secret_unref(*box);
    *box = NULL;
    return 0;
}

static int l_tostring(lua_State *L)
{
    lua_pushfstring(L, "secret(%s)", secret_check(L, "secret.tostring")->name);
    return 1;
}

static int l_eq(lua_State *L)
{
    const struct secret *a = secret_test(L, 1), *b = secret_test(L, 2);
    lua_pushboolean(L, a && b && equal(a, b));
    return 1;
}

static int l_len(lua_State *L)
{
    return err_argument(L, "secret.len", "the length of a sealed value is secret");
}

/* The name of "postgres://" .. password: that of the sealed part, or of both. */
static char *joined_name(const struct secret *a, const struct secret *b)
{
    if (a && b && strcmp(a->name, b->name) != 0)
        return mem_format("%s+%s", a->name, b->name);
    return mem_string(a ? a->name : b->name);
}

static int l_concat(lua_State *L)
{
    for (int i = 1; i <= 2; i++)
        if (!lua_isstring(L, i) && !secret_test(L, i))
            return err_argument(L, "secret.concat", "cannot join a sealed value with %s",
                                luaL_typename(L, i));
    const struct secret *a = secret_test(L, 1), *b = secret_test(L, 2);
    size_t left_len, right_len;
    const char *left = a ? secret_open(a, &left_len) : lua_tolstring(L, 1, &left_len);
    const char *right = b ? secret_open(b, &right_len) : lua_tolstring(L, 2, &right_len);
    struct buf text;
    buf_init(&text);
    buf_add(&text, left, left_len);
    buf_add(&text, right, right_len);
    char *name = joined_name(a, b);
    secret_push(L, secret_derive(name, buf_text(&text), text.len));
    mem_free(name);
    buf_fini_wiped(&text);
    return 1;
}

/* s:name() → string */
static int l_name(lua_State *L)
{
    lua_pushstring(L, secret_check(L, "secret.name")->name);
    return 1;
}

/* s:rename(name) → the same value under another name */
static int l_rename(lua_State *L)
{
    const struct secret *s = secret_check(L, "secret.rename");
    const char *name = secret_check_name(L, 2, "secret.rename");
    secret_push(L, secret_derive(name, s->data, s->len));
    return 1;
}

/* s:line() → the same value without the newline at its end, where it is the only one */
static int l_line(lua_State *L)
{
    struct secret *s = secret_check(L, "secret.line");
    const char *newline = memchr(s->data, '\n', s->len);
    size_t len = s->len;
    if (newline && newline + 1 == s->data + len) {
        len = (size_t)(newline - s->data);
        len -= len && s->data[len - 1] == '\r';
    }
    secret_push(L, len == s->len ? secret_ref(s) : secret_new(s->name, s->data, len));
    return 1;
}

void secret_add_json(struct buf *out, const struct secret *s)
{
    json_add_string(out, s->data, s->len);
}

/* s:json() → sealed JSON string literal, quotes included */
static int l_json(lua_State *L)
{
    const struct secret *s = secret_check(L, "secret.json");
    struct buf text;
    buf_init(&text);
    secret_add_json(&text, s);
    secret_push(L, secret_derive(s->name, text.data, text.len));
    buf_fini_wiped(&text);
    return 1;
}

static void push_metatable(lua_State *L)
{
    static const luaL_Reg metamethods[] = {
        {"__gc", l_gc},   {"__tostring", l_tostring}, {"__eq", l_eq},
        {"__len", l_len}, {"__concat", l_concat},     {NULL, NULL},
    };
    static const luaL_Reg methods[] = {
        {"name", l_name}, {"rename", l_rename}, {"line", l_line},
        {"json", l_json}, {NULL, NULL},
    };
    luaL_checkstack(L, 4, "sealed value");
    lua_pushlightuserdata(L, (void *)&opt_sealed_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    if (!lua_isnil(L, -1))
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_setfuncs(L, metamethods, 0);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "secret");
    lua_setfield(L, -2, "__metatable");
    lua_pushlightuserdata(L, (void *)&opt_sealed_key);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

void secret_add_method(lua_State *L, const char *name, lua_CFunction method)
{
    push_metatable(L);
    lua_getfield(L, -1, "__index");
    lua_pushcfunction(L, method);
    lua_setfield(L, -2, name);
    lua_pop(L, 2);
}
