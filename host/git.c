/* host.git: the questions and changes that lua asks git for, each one git command. What
   they mean for a deploy is decided in stdlib/dgrun/git.lua.

   Every function takes a table with `dir`, a folder in the repository; those that talk to
   a remote take `ssh_command`; all take `timeout`. */
#include <lauxlib.h>
#include <string.h>

#include "buf.h"
#include "gate.h"
#include "git_parse.h"
#include "mem.h"
#include "opt.h"
#include "task.h"
#include "text.h"

#define COMMON                                                                           \
    {"dir", OPT_STRING, true}, { "timeout", OPT_SECONDS, false }

/* The option `name`, checked as something that can stand on a command line. NULL: nil and
   the error are pushed. */
static const char *ref_option(lua_State *L, const char *op, const char *name)
{
    const char *ref = opt_string(L, 1, name, NULL);
    struct err *e = git_bad_ref(op, ref, strlen(ref));
    if (!e)
        return ref;
    err_return(L, e);
    return NULL;
}

static void check_remote(lua_State *L, const char *op)
{
    const char *remote = opt_string(L, 1, "remote", "");
    bool bad = *remote == '\0' || *remote == '-';
    for (const char *c = remote; *c; c++)
        bad = bad || (unsigned char)*c <= 0x20;
    if (bad)
        err_argument(L, op, "%s: 'remote' must be the name or URL of a remote", op);
}

static struct git_call *call(lua_State *L, const char *op, bool read_only,
                             git_parser parse)
{
    struct git_call *c =
        git_call_new(op, opt_string(L, 1, "dir", NULL), read_only, parse);
    c->setup->timeout = opt_seconds(L, 1, "timeout", 0);
    return c;
}

static void args(struct git_call *c, const char *const *list)
{
    for (; *list; list++)
        proc_arg(c->setup, *list);
}
#define ARGS(c, ...) args(c, (const char *const[]){__VA_ARGS__, NULL})

static void input(struct git_call *c, struct buf *text)
{
    c->setup->input = PROC_INPUT_BYTES;
    c->setup->bytes = mem_copy(buf_text(text), text->len);
    c->setup->byte_count = text->len;
}

/* info{} → {git_dir, bare, shallow, top} */
static int l_info(lua_State *L)
{
    static const struct opt options[] = {COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.info", options);
    struct git_call *c = call(L, "git.info", true, git_parse_info);
    c->max_status = 128;
    ARGS(c, "rev-parse", "--is-bare-repository", "--is-shallow-repository",
         "--absolute-git-dir", "--show-toplevel");
    return git_wait(L, c);
}

/* resolve{ref, remote} → {commit, kind, name, remote_commit} | nil for none.
   A full SHA first, then a tag, a branch, a branch of the remote, then all else git
   understands. */
static int l_resolve(lua_State *L)
{
    static const struct opt options[] = {COMMON,
                                         {"ref", OPT_STRING, true},
                                         {"remote", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.resolve", options);
    check_remote(L, "git.resolve");
    const char *ref = ref_option(L, "git.resolve", "ref");
    if (!ref)
        return 2;
    struct git_call *c = call(L, "git.resolve", true, git_parse_resolve);
    c->subject = mem_string(ref);
    c->remote = mem_string(opt_string(L, 1, "remote", NULL));
    ARGS(c, "cat-file", "--batch-check");
    struct buf questions;
    buf_init(&questions);
    buf_add_format(&questions, "refs/tags/%s^{commit}\nrefs/heads/%s^{commit}\n", ref,
                   ref);
    buf_add_format(&questions, "refs/remotes/%s/%s^{commit}\n", c->remote, ref);
    buf_add_format(&questions, "%s^{commit}\n%s\n", ref, ref);
    input(c, &questions);
    buf_fini(&questions);
    return git_wait(L, c);
}

/* log{to, from, limit} → list of commits, newest first; `from` and its ancestors are left
 * out */
static int l_log(lua_State *L)
{
    static const struct opt options[] = {COMMON,
                                         {"to", OPT_STRING, true},
                                         {"from", OPT_STRING, false},
                                         {"limit", OPT_INTEGER, false},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.log", options);
    const char *to = ref_option(L, "git.log", "to");
    if (!to)
        return 2;
    const char *from = opt_string(L, 1, "from", NULL);
    if (from && !ref_option(L, "git.log", "from"))
        return 2;
    struct git_call *c = call(L, "git.log", true, git_parse_log);
    c->subject = mem_string(to);
    ARGS(c, "log", "-z", "--no-show-signature", "--no-notes", "--encoding=UTF-8",
         "--format=tformat:" GIT_LOG_FORMAT);
    char *limit = mem_format("--max-count=%lld", opt_integer(L, 1, "limit", -1));
    proc_arg(c->setup, limit);
    mem_free(limit);
    ARGS(c, "--end-of-options", to);
    if (from) {
        char *without = mem_format("^%s", from);
        proc_arg(c->setup, without);
        mem_free(without);
    }
    ARGS(c, "--");
    return git_wait(L, c);
}

/* is_ancestor{ancestor, descendant} → boolean */
static int l_is_ancestor(lua_State *L)
{
    static const struct opt options[] = {COMMON,
                                         {"ancestor", OPT_STRING, true},
                                         {"descendant", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.is_ancestor", options);
    const char *ancestor = ref_option(L, "git.is_ancestor", "ancestor");
    const char *descendant =
        ancestor ? ref_option(L, "git.is_ancestor", "descendant") : NULL;
    if (!descendant)
        return 2;
    struct git_call *c = call(L, "git.is_ancestor", true, git_parse_ancestor);
    c->max_status = 1;
    ARGS(c, "merge-base", "--is-ancestor", "--end-of-options", ancestor, descendant);
    return git_wait(L, c);
}

/* count{from, to} → {ahead, behind}: commits that only `to` has, that only `from` has */
static int l_count(lua_State *L)
{
    static const struct opt options[] = {
        COMMON, {"from", OPT_STRING, true}, {"to", OPT_STRING, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.count", options);
    const char *from = ref_option(L, "git.count", "from");
    const char *to = from ? ref_option(L, "git.count", "to") : NULL;
    if (!to)
        return 2;
    struct git_call *c = call(L, "git.count", true, git_parse_count);
    char *range = mem_format("%s...%s", from, to);
    ARGS(c, "rev-list", "--count", "--left-right", "--end-of-options", range, "--");
    mem_free(range);
    return git_wait(L, c);
}

/* status{} → {commit, branch, upstream, ahead, behind, clean, files} */
static int l_status(lua_State *L)
{
    static const struct opt options[] = {COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.status", options);
    struct git_call *c = call(L, "git.status", true, git_parse_status);
    ARGS(c, "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal",
         "--ignore-submodules=none", "--ahead-behind");
    return git_wait(L, c);
}

/* refs{} → list of {name, commit}: tags, branches, remote branches */
static int l_refs(lua_State *L)
{
    static const struct opt options[] = {COMMON, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.refs", options);
    struct git_call *c = call(L, "git.refs", true, git_parse_refs);
    ARGS(c, "for-each-ref", "--format=%(objectname) %(*objectname) %(refname)",
         "refs/tags", "refs/heads", "refs/remotes");
    return git_wait(L, c);
}

/* config{name} → value | nil for none */
static int l_config(lua_State *L)
{
    static const struct opt options[] = {
        COMMON, {"name", OPT_STRING, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.config", options);
    const char *name = opt_string(L, 1, "name", NULL);
    if (*name == '-')
        return err_argument(L, "git.config", "git.config: '%s' is not a name", name);
    struct git_call *c = call(L, "git.config", true, git_parse_config);
    c->max_status = 1;
    ARGS(c, "config", "--null", "--get", name);
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
        return err_argument(L, "git.export", "git.export: 'commit' must be a full SHA");
    if (*into != '/' || *index != '/')
        return err_argument(L, "git.export",
                            "git.export: 'into' and 'index' must be absolute");
    if (!gate_may_write(into) || !gate_may_write(index))
        return err_return(L, gate_refusal("git.export", into));
    struct git_call *c = git_call_new("git.export", into, true, git_parse_nothing);
    c->subject = mem_string(commit);
    c->setup->timeout = opt_seconds(L, 1, "timeout", 0);
    proc_env(c->setup, "GIT_DIR", opt_string(L, 1, "git_dir", NULL));
    proc_env(c->setup, "GIT_WORK_TREE", into);
    proc_env(c->setup, "GIT_INDEX_FILE", index);
    ARGS(c, "-c", "core.sparseCheckout=false", "read-tree", "--reset", "-u",
         "--no-sparse-checkout", "--no-recurse-submodules", commit);
    return git_wait(L, c);
}

#define REMOTE                                                                           \
    COMMON, {"remote", OPT_STRING, true}, { "ssh_command", OPT_STRING, false }

static struct git_call *remote_call(lua_State *L, const char *op, bool read_only,
                                    git_parser parse)
{
    struct git_call *c = call(L, op, read_only, parse);
    struct buf shown;
    buf_init(&shown);
    c->remote = mem_string(opt_string(L, 1, "remote", NULL));
    text_last_lines(&shown, c->remote, strlen(c->remote), 1);
    c->subject = mem_string(buf_text(&shown));
    buf_fini(&shown);
    git_call_ssh(c, opt_string(L, 1, "ssh_command", NULL));
    return c;
}

/* Adds the list `name` as arguments. */
static void list_args(struct git_call *c, char **list)
{
    for (char **s = list; *s; s++)
        proc_arg(c->setup, *s);
    opt_strings_free(list);
}

/* remote_refs{remote, patterns} → name → commit, as the remote has it now */
static int l_remote_refs(lua_State *L)
{
    static const struct opt options[] = {
        REMOTE, {"patterns", OPT_TABLE, false}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.remote_refs", options);
    check_remote(L, "git.remote_refs");
    char **patterns = opt_strings(L, 1, "patterns", "git.remote_refs");
    struct git_call *c = remote_call(L, "git.remote_refs", true, git_parse_remote_refs);
    ARGS(c, "ls-remote", "--quiet", "--end-of-options", c->remote);
    list_args(c, patterns);
    return git_wait(L, c);
}

/* fetch{remote, refspecs, depth, unshallow, prune} → true */
static int l_fetch(lua_State *L)
{
    static const struct opt options[] = {REMOTE,
                                         {"refspecs", OPT_TABLE, false},
                                         {"depth", OPT_INTEGER, false},
                                         {"unshallow", OPT_BOOLEAN, false},
                                         {"prune", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.fetch", options);
    check_remote(L, "git.fetch");
    long long depth = opt_integer(L, 1, "depth", 0);
    char **refspecs = opt_strings(L, 1, "refspecs", "git.fetch");
    struct git_call *c = remote_call(L, "git.fetch", false, git_parse_nothing);
    ARGS(c, "fetch", "--no-recurse-submodules", "--no-auto-maintenance", "--quiet");
    if (depth > 0) {
        char *arg = mem_format("--depth=%lld", depth);
        proc_arg(c->setup, arg);
        mem_free(arg);
    }
    if (opt_boolean(L, 1, "unshallow", false))
        ARGS(c, "--unshallow");
    if (opt_boolean(L, 1, "prune", false))
        ARGS(c, "--prune");
    ARGS(c, "--end-of-options", c->remote);
    list_args(c, refspecs);
    return git_wait(L, c);
}

/* tag{name, commit, message} → true: an annotated tag where there is a message */
static int l_tag(lua_State *L)
{
    static const struct opt options[] = {COMMON,
                                         {"name", OPT_STRING, true},
                                         {"commit", OPT_STRING, true},
                                         {"message", OPT_STRING, false},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.tag", options);
    const char *name = ref_option(L, "git.tag", "name");
    const char *commit = name ? ref_option(L, "git.tag", "commit") : NULL;
    if (!commit)
        return 2;
    const char *message = opt_string(L, 1, "message", NULL);
    struct git_call *c = call(L, "git.tag", false, git_parse_nothing);
    c->subject = mem_string(name);
    ARGS(c, "tag", "--no-sign");
    if (message) {
        ARGS(c, "--annotate", "--cleanup=verbatim", "--file=-");
        struct buf text;
        buf_init(&text);
        buf_add_text(&text, message);
        input(c, &text);
        buf_fini(&text);
    }
    ARGS(c, "--end-of-options", name, commit);
    return git_wait(L, c);
}

/* push{remote, refspecs} → list of {flag, from, to, summary} */
static int l_push(lua_State *L)
{
    static const struct opt options[] = {
        REMOTE, {"refspecs", OPT_TABLE, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.push", options);
    check_remote(L, "git.push");
    char **refspecs = opt_strings(L, 1, "refspecs", "git.push");
    struct git_call *c = remote_call(L, "git.push", false, git_parse_push);
    c->max_status = 1;
    ARGS(c, "push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags",
         "--recurse-submodules=no", "--end-of-options", c->remote);
    list_args(c, refspecs);
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
        {"resolve", l_resolve},
        {"log", l_log},
        {"count", l_count},
        {"is_ancestor", l_is_ancestor},
        {"status", l_status},
        {"refs", l_refs},
        {"remote_refs", l_remote_refs},
        {"config", l_config},
        {"export", l_export},
        {"fetch", l_fetch},
        {"tag", l_tag},
        {"push", l_push},
        {"check_ref", l_check_ref},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
