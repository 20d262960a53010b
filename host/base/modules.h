#pragma once
/* The functions that open the modules of the host: require "host.time" calls
   luaopen_host_time. Each stands in the file of its module. */
#include <lua.h>

#ifdef __cplusplus
extern "C" {
#endif

int luaopen_host_dburl(lua_State *L);
int luaopen_host_digest(lua_State *L);
int luaopen_host_dotenv(lua_State *L);
int luaopen_host_err(lua_State *L);
int luaopen_host_fly(lua_State *L);
int luaopen_host_fs(lua_State *L);
int luaopen_host_gate(lua_State *L);
int luaopen_host_git(lua_State *L);
int luaopen_host_http(lua_State *L);
int luaopen_host_json(lua_State *L);
int luaopen_host_log(lua_State *L);
int luaopen_host_migrations(lua_State *L);
int luaopen_host_opt(lua_State *L);
int luaopen_host_postgres(lua_State *L);
int luaopen_host_proc(lua_State *L);
int luaopen_host_secret(lua_State *L);
int luaopen_host_server(lua_State *L);
int luaopen_host_sql(lua_State *L);
int luaopen_host_sqlite(lua_State *L);
int luaopen_host_stdin(lua_State *L);
int luaopen_host_task(lua_State *L);
int luaopen_host_time(lua_State *L);
int luaopen_host_toml(lua_State *L);
int luaopen_host_tty(lua_State *L);
int luaopen_host_yaml(lua_State *L);

#ifdef __cplusplus
}
#endif
