#pragma once
/* Readers of what git commands print. Text that people wrote (subjects, names) is
   cleaned: valid UTF-8 on one line, without control characters. Paths and refs are left
   as they are. */
#include "git_command.h"

/* "%H%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ct%x00%s", records ended by NUL */
#define GIT_LOG_FORMAT "%H%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ct%x00%s"

int git_parse_nothing(lua_State *L, const struct proc_result *r,
                      const struct git_call *c);
int git_parse_info(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_resolve(lua_State *L, const struct proc_result *r,
                      const struct git_call *c);
int git_parse_log(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_ancestor(lua_State *L, const struct proc_result *r,
                       const struct git_call *c);
int git_parse_count(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_status(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_refs(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_remote_refs(lua_State *L, const struct proc_result *r,
                          const struct git_call *c);
int git_parse_push(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_config(lua_State *L, const struct proc_result *r, const struct git_call *c);
