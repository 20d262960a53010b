/* host.git: the questions and changes that lua asks git for, each one git command. What
   they mean for a deploy is decided in stdlib/dgrun/git.lua.

   Every function takes a table with `dir`, a folder in the repository; those that talk to
   a remote take `ssh_command`; all take `timeout`. */
#include <lauxlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "git/git_command.h"
#include "git/git_parse.h"
#include "git/git_refs.h"
#include "loop/task.h"
#include "secret/gate.h"

/* info{} → {git_dir, bare, shallow, top} */
static int l_info(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.info", options);
    struct git_call *c = git_call_common(L, "git.info", true, git_parse_info);
    c->max_status = 128;
    GIT_ARGS(c, "rev-parse", "--is-bare-repository", "--is-shallow-repository",
             "--absolute-git-dir", "--show-toplevel");
    return git_wait(L, c);
}

/* log{to, from, limit, path, first_parent} → list of commits, newest first; `from` and
   its ancestors are left out, with `path` those that did not touch it: a name from the
   top of the tree
 */
static int l_log(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"to", OPT_STRING, true},
                                         {"from", OPT_STRING, false},
                                         {"limit", OPT_INTEGER, false},
                                         {"path", OPT_STRING, false},
                                         {"first_parent", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.log", options);
    const char *to = git_ref_option(L, "git.log", "to");
    if (!to)
        return 2;
    const char *from = opt_string(L, 1, "from", NULL);
    if (from && !git_ref_option(L, "git.log", "from"))
        return 2;
    struct git_call *c = git_call_common(L, "git.log", true, git_parse_log);
    c->subject = mem_string(to);
    GIT_ARGS(c, "log", "-z", "--no-show-signature", "--no-notes", "--encoding=UTF-8",
             GIT_LOG_FORMAT);
    char *limit = mem_format("--max-count=%lld", opt_integer(L, 1, "limit", -1));
    proc_arg(c->setup, limit);
    mem_free(limit);
    if (opt_boolean(L, 1, "first_parent", false))
        GIT_ARGS(c, "--first-parent");
    GIT_ARGS(c, "--end-of-options", to);
    if (from) {
        char *without = mem_format("^%s", from);
        proc_arg(c->setup, without);
        mem_free(without);
    }
    GIT_ARGS(c, "--");
    const char *path = opt_string(L, 1, "path", NULL);
    if (path)
        proc_arg(c->setup, path); /* --literal-pathspecs: no character is special */
    return git_wait(L, c);
}

/* is_ancestor{ancestor, descendant} → boolean */
static int l_is_ancestor(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"ancestor", OPT_STRING, true},
                                         {"descendant", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.is_ancestor", options);
    const char *ancestor = git_ref_option(L, "git.is_ancestor", "ancestor");
    const char *descendant =
        ancestor ? git_ref_option(L, "git.is_ancestor", "descendant") : NULL;
    if (!descendant)
        return 2;
    struct git_call *c = git_call_common(L, "git.is_ancestor", true, git_parse_ancestor);
    c->max_status = 1;
    GIT_ARGS(c, "merge-base", "--is-ancestor", "--end-of-options", ancestor, descendant);
    return git_wait(L, c);
}

/* merge_base{one, other} → SHA | nil where the histories have nothing in common */
static int l_merge_base(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"one", OPT_STRING, true},
                                         {"other", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.merge_base", options);
    const char *one = git_ref_option(L, "git.merge_base", "one");
    const char *other = one ? git_ref_option(L, "git.merge_base", "other") : NULL;
    if (!other)
        return 2;
    struct git_call *c = git_call_common(L, "git.merge_base", true, git_parse_line);
    c->max_status = 1;
    GIT_ARGS(c, "merge-base", "--end-of-options", one, other);
    return git_wait(L, c);
}

/* count{from, to} → {ahead, behind}: commits that only `to` has, that only `from` has */
static int l_count(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"from", OPT_STRING, true},
                                         {"to", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.count", options);
    const char *from = git_ref_option(L, "git.count", "from");
    const char *to = from ? git_ref_option(L, "git.count", "to") : NULL;
    if (!to)
        return 2;
    struct git_call *c = git_call_common(L, "git.count", true, git_parse_count);
    char *range = mem_format("%s...%s", from, to);
    GIT_ARGS(c, "rev-list", "--count", "--left-right", "--end-of-options", range, "--");
    mem_free(range);
    return git_wait(L, c);
}

/* status{} → {commit, branch, upstream, ahead, behind, clean, files} */
static int l_status(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.status", options);
    struct err *e = git_filters_refusal("git.status", opt_string(L, 1, "dir", NULL));
    if (e)
        return err_return(L, e);
    struct git_call *c = git_call_common(L, "git.status", true, git_parse_status);
    GIT_ARGS(c, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal",
             "--ignore-submodules=none", "--ahead-behind");
    return git_wait(L, c);
}

/* refs{} → list of {name, commit}: tags, branches, remote branches */
static int l_refs(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.refs", options);
    struct git_call *c = git_call_common(L, "git.refs", true, git_parse_refs);
    GIT_ARGS(c, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname)",
             "refs/tags", "refs/heads", "refs/remotes");
    return git_wait(L, c);
}

/* tracking{path} → "tracked" | "untracked" | nil for a file that git ignores */
static int l_tracking(lua_State *L)
{
    static const struct opt options[] = {
        GIT_COMMON, {"path", OPT_STRING, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.tracking", options);
    struct git_call *c = git_call_common(L, "git.tracking", true, git_parse_tracking);
    GIT_ARGS(c, "ls-files", "-t", "-z", "--cached", "--others", "--exclude-standard",
             "--", opt_string(L, 1, "path", NULL));
    return git_wait(L, c);
}

/* changed{from, path} → paths of the files below `path` whose content in the working tree
   is not that of the commit; a file that was only renamed is left out */
static int l_changed(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"from", OPT_STRING, true},
                                         {"path", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.changed", options);
    const char *from = git_ref_option(L, "git.changed", "from");
    if (!from)
        return 2;
    struct err *e = git_filters_refusal("git.changed", opt_string(L, 1, "dir", NULL));
    if (e)
        return err_return(L, e);
    struct git_call *c = git_call_common(L, "git.changed", true, git_parse_paths);
    c->subject = mem_string(from);
    GIT_ARGS(c, "diff", "--name-only", "-z", "--relative", "--no-ext-diff",
             "--no-textconv", "--find-renames=100%", "--diff-filter=AMTU",
             "--end-of-options", from, "--", opt_string(L, 1, "path", NULL));
    return git_wait(L, c);
}

/* untracked{path} → paths of the files below `path` that git neither knows nor ignores */
static int l_untracked(lua_State *L)
{
    static const struct opt options[] = {
        GIT_COMMON, {"path", OPT_STRING, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.untracked", options);
    struct git_call *c = git_call_common(L, "git.untracked", true, git_parse_paths);
    GIT_ARGS(c, "ls-files", "-z", "--others", "--exclude-standard", "--",
             opt_string(L, 1, "path", NULL));
    return git_wait(L, c);
}

/* config{name} → value | nil for none */
static int l_config(lua_State *L)
{
    static const struct opt options[] = {
        GIT_COMMON, {"name", OPT_STRING, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.config", options);
    const char *name = opt_string(L, 1, "name", NULL);
    if (*name == '-')
        return err_argument(L, "git.config", "'%s' is not a name", name);
    struct git_call *c = git_call_common(L, "git.config", true, git_parse_config);
    c->max_status = 1;
    GIT_ARGS(c, "config", "--null", "--get", name);
    return git_wait(L, c);
}

/* know_filters{} → true: in a plan, before status, changed and export: git_command.h */
static int l_know_filters(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.know_filters", options);
    struct git_call *c = git_call_common(L, "git.know_filters", true, git_parse_filters);
    c->max_status = 1;
    GIT_ARGS(c, "config", "--null", "--name-only", "--get-regexp", "^filter[.]");
    return git_wait(L, c);
}

/* export{git_dir, commit, into, index}: the commit's files into an existing empty folder.
   The index is a file of its own: that of the repository and its working tree are not
   touched. */
static int l_export(lua_State *L)
{
    static const struct opt options[] = {
        {"git_dir", OPT_STRING, true},   {"commit", OPT_STRING, true},
        {"into", OPT_STRING, true},      {"index", OPT_STRING, true},
        {"timeout", OPT_SECONDS, false}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.export", options);
    const char *commit = opt_string(L, 1, "commit", NULL);
    const char *into = opt_string(L, 1, "into", NULL);
    const char *index = opt_string(L, 1, "index", NULL);
    size_t digits = strspn(commit, "0123456789abcdef");
    if (commit[digits] != '\0' || (digits != 40 && digits != 64))
        return err_argument(L, "git.export", "'commit' must be a full SHA");
    if (*into != '/' || *index != '/')
        return err_argument(L, "git.export", "'into' and 'index' must be absolute");
    if (!gate_may_write(into) || !gate_may_write(index))
        return err_return(L, gate_refusal("git.export", into));
    struct err *e = git_filters_refusal("git.export", into);
    if (e)
        return err_return(L, e);
    struct git_call *c = git_call_new("git.export", into, true, git_parse_nothing);
    c->subject = mem_string(commit);
    c->setup->timeout = opt_seconds(L, 1, "timeout", 0);
    proc_env(c->setup, "GIT_DIR", opt_string(L, 1, "git_dir", NULL));
    proc_env(c->setup, "GIT_WORK_TREE", into);
    proc_env(c->setup, "GIT_INDEX_FILE", index);
    GIT_ARGS(c, "-c", "core.sparseCheckout=false", "read-tree", "--reset", "-u",
             "--no-sparse-checkout", "--no-recurse-submodules", commit);
    return git_wait(L, c);
}

/* tag{name, commit, message} → true: an annotated tag where there is a message */
static int l_tag(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"name", OPT_STRING, true},
                                         {"commit", OPT_STRING, true},
                                         {"message", OPT_STRING, false},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.tag", options);
    const char *name = git_ref_option(L, "git.tag", "name");
    const char *commit = name ? git_ref_option(L, "git.tag", "commit") : NULL;
    if (!commit)
        return 2;
    const char *message = opt_string(L, 1, "message", NULL);
    struct git_call *c = git_call_common(L, "git.tag", false, git_parse_nothing);
    c->subject = mem_string(name);
    GIT_ARGS(c, "tag", "--no-sign");
    if (message) {
        GIT_ARGS(c, "--annotate", "--cleanup=verbatim", "--file=-");
        struct buf text;
        buf_init(&text);
        buf_add_text(&text, message);
        git_call_input(c, &text);
        buf_fini(&text);
    }
    GIT_ARGS(c, "--end-of-options", name, commit);
    return git_wait(L, c);
}

/* check_ref(text, op) → true | nil, err */
static int l_check_ref(lua_State *L)
{
    size_t len;
    const char *ref = luaL_checklstring(L, 1, &len);
    struct err *e = git_bad_ref(luaL_optstring(L, 2, "git.check_ref"), ref, len);
    if (e)
        return err_return(L, e);
    lua_pushboolean(L, 1);
    return 1;
}

int luaopen_host_git(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"info", l_info},
        {"resolve", l_git_resolve},
        {"log", l_log},
        {"count", l_count},
        {"merge_base", l_merge_base},
        {"changed", l_changed},
        {"untracked", l_untracked},
        {"is_ancestor", l_is_ancestor},
        {"status", l_status},
        {"refs", l_refs},
        {"remote_refs", l_git_remote_refs},
        {"tracking", l_tracking},
        {"config", l_config},
        {"know_filters", l_know_filters},
        {"export", l_export},
        {"fetch", l_git_fetch},
        {"tag", l_tag},
        {"push", l_git_push},
        {"check_ref", l_check_ref},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
