/* host.migrations: Alembic revision files as tables. The graph over them is Lua. */
#include <lauxlib.h>

#include "err.h"
#include "migrations_scan.h"

static void push_strings(lua_State *L, const struct strings *s, const char *name)
{
    lua_createtable(L, (int)s->count, 0);
    for (unsigned i = 0; i < s->count; i++) {
        lua_pushstring(L, s->items[i]);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_setfield(L, -2, name);
}

/* scan(text, source) → {revision, down, labels, depends_on, message, line} | false | nil,
   err: false where the file declares no revision */
static int l_scan(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *source = luaL_checkstring(L, 2);
    struct revision r;
    struct err *error = revision_scan(&r, text, len, source);
    if (error)
        return err_return(L, error);
    if (!r.id) {
        revision_fini(&r);
        lua_pushboolean(L, 0);
        return 1;
    }
    lua_createtable(L, 0, 6);
    lua_pushstring(L, r.id);
    lua_setfield(L, -2, "revision");
    lua_pushstring(L, r.message ? r.message : "");
    lua_setfield(L, -2, "message");
    lua_pushinteger(L, (lua_Integer)r.line);
    lua_setfield(L, -2, "line");
    push_strings(L, &r.down, "down");
    push_strings(L, &r.labels, "labels");
    push_strings(L, &r.depends_on, "depends_on");
    revision_fini(&r);
    return 1;
}

int luaopen_host_migrations(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"scan", l_scan},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
