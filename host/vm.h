#pragma once
/* The Lua state: the list of host modules, the embedded stdlib, the search path and
   strict globals. One state a process. */
#include <lua.h>
#include <stddef.h>

#include "loop/task.h"

/* One file of the stdlib as bytecode; the table is made at build time by embed.lua. */
struct vm_chunk {
    const char *name; /* "dgrun.git" */
    const char *code;
    size_t len;
};
extern const struct vm_chunk vm_stdlib[];
extern const unsigned vm_stdlib_count;

/* `program` is argv[0], to find the loadable modules beside the binary. Never NULL. */
lua_State *vm_open(const char *program);
struct task_left vm_close(lua_State *L);
