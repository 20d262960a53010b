#pragma once
/* The functions of host.git that are about refs and remotes. */
#include <lua.h>

int l_git_resolve(lua_State *L);
int l_git_remote_refs(lua_State *L);
int l_git_fetch(lua_State *L);
int l_git_push(lua_State *L);
