#pragma once
/* What the git functions of Lua have in common: their options, and the calls they make of
   them. All read the table at index 1. */
#include <lua.h>

#include "base/buf.h"
#include "git/git_command.h"

/* In a list of `struct opt`. */
#define GIT_COMMON                                                                       \
    {"dir", OPT_STRING, true}, { "timeout", OPT_SECONDS, false }

/* The option `name`, checked as something that can stand on a command line. NULL: nil and
   the error are pushed. */
const char *git_ref_option(lua_State *L, const char *op, const char *name);
void git_check_remote(lua_State *L, const char *op); /* raises */

/* A call in the folder `dir` with the time limit `timeout`. */
struct git_call *git_call_common(lua_State *L, const char *op, bool read_only,
                                 git_parser parse);
void git_call_input(struct git_call *c, struct buf *text); /* standard input; copied */
void git_args(struct git_call *c, const char *const *list);
#define GIT_ARGS(c, ...) git_args(c, (const char *const[]){__VA_ARGS__, NULL})

int l_git_resolve(lua_State *L);     /* git_resolve.c */
int l_git_remote_refs(lua_State *L); /* git_remote.c */
int l_git_fetch(lua_State *L);
int l_git_push(lua_State *L);
