/* host.secret: sealed values made from Lua, taken from the environment, and asked. */
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "secret/redact.h"
#include "secret/redact_forms.h"
#include "secret/secret.h"
#include "secret/secret_json.h"
#include "secret/secret_rule.h"

/* new(name, string) → sealed */
static int l_new(lua_State *L)
{
    const char *name = secret_check_name(L, 1, "secret.new");
    if (lua_type(L, 2) != LUA_TSTRING)
        return err_argument(L, "secret.new", "the value must be a string, not %s",
                            luaL_typename(L, 2));
    size_t len;
    const char *value = lua_tolstring(L, 2, &len);
    secret_push(L, secret_new(name, value, len));
    return 1;
}

/* Values taken from the environment: it is emptied on the first read, the value stays. */
struct taken {
    struct taken *next;
    struct secret *value;
};
static struct taken *taken;

static struct secret *find_taken(const char *name)
{
    for (const struct taken *t = taken; t; t = t->next)
        if (strcmp(secret_name(t->value), name) == 0)
            return t->value;
    return NULL;
}

/* In place, so that /proc/self/environ forgets the value too; a name may stand there
 * twice. */
static void wipe_env(const char *name)
{
    size_t len = strlen(name);
    for (char **entry = environ; entry && *entry; entry++)
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
            mem_wipe(*entry + len + 1, strlen(*entry + len + 1));
    unsetenv(name);
}

static struct secret *take_from_env(const char *name)
{
    const char *value = getenv(name);
    if (!value)
        return NULL;
    struct taken *t = mem_alloc(sizeof *t);
    t->value = secret_new(name, value, strlen(value));
    t->next = taken;
    taken = t;
    wipe_env(name);
    return t->value;
}

/* from_env(NAME) → sealed, or nil when it is not set; children no longer inherit it */
static int l_from_env(lua_State *L)
{
    const char *name = secret_check_name(L, 1, "secret.from_env");
    if (strchr(name, '='))
        return err_argument(L, "secret.from_env", "'%s' cannot be a variable's name",
                            name);
    struct secret *s = find_taken(name);
    if (!s)
        s = take_from_env(name);
    if (!s)
        return 0;
    secret_push(L, secret_ref(s));
    return 1;
}

/* env_test(NAME, kind, argument) → boolean; false when it is not set. The variable stays
 * where it is. */
static int l_env_test(lua_State *L)
{
    const char *name = secret_check_name(L, 1, "secret.env_test");
    const struct secret *s = find_taken(name);
    size_t len = 0;
    const char *data = s ? secret_open(s, &len) : getenv(name);
    if (data)
        return secret_rule_test(L, data, s ? len : strlen(data), 2, "secret.env_test");
    lua_pushboolean(L, 0);
    return 1;
}

/* is(value) → boolean */
static int l_is(lua_State *L)
{
    lua_pushboolean(L, secret_test(L, 1) != NULL);
    return 1;
}

/* unmasked(sealed) → true when the value is too short to be masked */
static int l_unmasked(lua_State *L)
{
    size_t len;
    secret_open(secret_check(L, "secret.unmasked"), &len);
    lua_pushboolean(L, len < REDACT_MIN);
    return 1;
}

/* public{word, …}: values that are just one of these are no secrets */
static int l_public(lua_State *L)
{
    if (!lua_istable(L, 1))
        return err_argument(L, "secret.public", "needs a list of words");
    for (size_t i = 1, count = lua_objlen(L, 1); i <= count; i++) {
        size_t len;
        lua_rawgeti(L, 1, (int)i);
        if (lua_type(L, -1) != LUA_TSTRING)
            return err_argument(L, "secret.public", "words must be strings");
        const char *word = lua_tolstring(L, -1, &len);
        redact_public(word, len);
        lua_pop(L, 1);
    }
    return 0;
}

/* redact(string) → string */
static int l_redact(lua_State *L)
{
    if (lua_type(L, 1) != LUA_TSTRING)
        return err_argument(L, "secret.redact", "needs a string, not %s",
                            luaL_typename(L, 1));
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    struct buf out;
    buf_init(&out);
    secret_redact(text, len, &out);
    lua_pushlstring(L, buf_text(&out), out.len);
    buf_fini(&out);
    return 1;
}

int luaopen_host_secret(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"new", l_new},
        {"from_env", l_from_env},
        {"from_json", secret_l_from_json},
        {"is", l_is},
        {"unmasked", l_unmasked},
        {"redact", l_redact},
        {"public", l_public},
        {"test", secret_l_test},
        {"env_test", l_env_test},
        {"pattern_fault", secret_l_pattern_fault},
        {NULL, NULL},
    };
    secret_add_method(L, "test", secret_l_test);
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
