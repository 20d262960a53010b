#pragma once
/* toml++ behind a C ABI: a document is walked, no C++ exception crosses. */
#ifdef __cplusplus
extern "C" {
#endif
#include <lua.h>

int luaopen_host_toml(lua_State *L);

#ifdef __cplusplus
}
#endif
