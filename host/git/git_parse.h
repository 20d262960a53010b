#pragma once
/* Readers of what git commands print. Text that people wrote (subjects, names) is
   cleaned: valid UTF-8 on one line, without control characters. Paths and refs are left
   as they are. */
#include "git/git_command.h"

/* Fields and records end with NUL, given -z. */
#define GIT_LOG_FORMAT                                                                   \
    "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%at%x00%cn%x00%ct%x00%s"

int git_parse_nothing(lua_State *L, const struct proc_result *r,
                      const struct git_call *c);
int git_parse_info(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_log(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_ancestor(lua_State *L, const struct proc_result *r,
                       const struct git_call *c);
int git_parse_count(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_status(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_refs(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_tracking(lua_State *L, const struct proc_result *r,
                       const struct git_call *c);
int git_parse_line(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_paths(lua_State *L, const struct proc_result *r, const struct git_call *c);
int git_parse_filters(lua_State *L, const struct proc_result *r,
                      const struct git_call *c);
int git_parse_config(lua_State *L, const struct proc_result *r, const struct git_call *c);

/* A cursor over output that is made of fields. */
struct git_reader {
    const char *at;
    const char *end;
};
struct git_reader git_reader_of(const struct buf *b);
/* The next field, up to `mark` or the end. False when there is none. */
bool git_field(struct git_reader *r, char mark, const char **text, size_t *len);

/* Set a field of the table on top of the stack: bytes as they are, text cleaned. */
void git_set(lua_State *L, const char *name, const char *text, size_t len);
void git_set_text(lua_State *L, const char *name, const char *text, size_t len);

/* nil and the error of output that is not what git prints. */
int git_unreadable(lua_State *L, const struct git_call *c);
