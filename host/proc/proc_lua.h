#pragma once
/* Functions of host.proc that stand in files of their own. */
#include <lua.h>

int proc_l_self(lua_State *L);
int proc_l_export(lua_State *L);
