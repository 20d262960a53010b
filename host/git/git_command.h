#pragma once
/* One git command: how it is started so that it can neither prompt nor run hooks, pagers
   or editors, and how its failure becomes an error. git_parse.h reads what it printed. */
#include <lua.h>

#include "proc/proc.h"

struct git_call;

/* Reads the output of a command that ended well: an operation's push, must not raise. */
typedef int (*git_parser)(lua_State *L, const struct proc_result *r,
                          const struct git_call *c);

struct git_call {
    const char *op; /* "git.log"; not copied */
    git_parser parse;
    int max_status; /* what the command may exit with besides 0 */
    char *dir;
    char *subject; /* the ref, tag or remote that it is about; NULL: none */
    char *remote;
    struct proc_setup *setup; /* add the command and its arguments with proc_arg */
};

/* `git -C dir …` with a neutral environment and configuration, up to the command's name.
 */
struct git_call *git_call_new(const char *op, const char *dir, bool read_only,
                              git_parser parse);
/* In a plan, commands that read or write the working tree must not run the filters that
   the configuration names (filter.NAME.clean, …): every call turns off those that were
   added. */
void git_filter_add(const char *name, size_t len);
void git_filters_known(void); /* all of them */
/* NULL; in a plan, when the names were never read, the refusal of `what`. */
struct err *git_filters_refusal(const char *op, const char *what);

/* For commands that talk to a remote: ssh in batch mode. `command` NULL: the user's or
 * "ssh". */
void git_call_ssh(struct git_call *c, const char *command);
/* The last line of a binding; takes over the call. */
int git_wait(lua_State *L, struct git_call *c);

/* What a failed command means, from its exit status and what it said. */
struct err *git_error(const struct proc_result *r, const struct git_call *c);

/* Why `ref` cannot be a ref on a command line as an error, or NULL when it can. */
struct err *git_bad_ref(const char *op, const char *ref, size_t len);

/* What the git functions of Lua have in common: their options, and the calls they make of
   them. All read the table at index 1. */

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
