/* YAML and TOML: a value with its position, or an error with its line. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int luaopen_host_toml(lua_State *L);

static void decode(lua_State *L, const uint8_t *data, size_t len, bool typed)
{
    lua_getfield(L, 1, "decode");
    lua_pushlstring(L, (const char *)data, len);
    lua_newtable(L);
    lua_pushboolean(L, true);
    lua_setfield(L, -2, "positions");
    lua_pushboolean(L, typed);
    lua_setfield(L, -2, "typed");
    if (lua_pcall(L, 2, 2, 0) != 0 || lua_isnil(L, -1))
        abort();
    lua_settop(L, 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const lua_CFunction formats[] = {luaopen_host_yaml, luaopen_host_toml};
    static lua_State *states[2];
    for (int i = 0; i < 2; i++) {
        if (!states[i]) {
            states[i] = luaL_newstate();
            lua_pushcfunction(states[i], formats[i]);
            lua_call(states[i], 0, 1);
        }
        decode(states[i], data, len, len % 2);
    }
    return 0;
}
