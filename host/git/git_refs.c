/* Refs: resolving a ref to its commit, listing those of a remote, fetching, pushing. */
#include <lauxlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/text.h"
#include "git/git_command.h"
#include "git/git_parse.h"
#include "git/git_refs.h"
#include "loop/task.h"

static int push_ambiguous(lua_State *L, const struct proc_result *r,
                          const struct git_call *c)
{
    struct err *e =
        err_new("git.ambiguous_ref", c->op,
                "%s: '%s' is the beginning of more than one commit's SHA in %s", c->op,
                c->subject, c->dir);
    struct buf candidates;
    buf_init(&candidates);
    struct git_reader in = git_reader_of(&r->err);
    const char *line;
    size_t len;
    while (git_field(&in, '\n', &line, &len)) {
        if (candidates.len > 0 && *line == 'e')
            break; /* git says it once for each question */
        if (len < 8 || memcmp(line, "hint:   ", 8) != 0)
            continue;
        buf_add_text(&candidates, candidates.len > 0 ? ", " : "");
        text_clean(&candidates, line + 8, len - 8);
    }
    err_hint(e, "Give more of its digits%s%s", candidates.len > 0 ? ": " : "",
             buf_text(&candidates));
    buf_fini(&candidates);
    return err_return(L, e);
}

/* An answer of `git cat-file --batch-check`: "object type size" or "question missing". */
static bool is_answer(const char *line, size_t len, const char *type)
{
    const char *space = memchr(line, ' ', len);
    size_t n = strlen(type);
    return space && len - (size_t)(space - line) > n + 1 &&
           memcmp(space + 1, type, n) == 0 && space[n + 1] == ' ';
}

static bool ends_with(const char *line, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len >= n && memcmp(line + len - n, end, n) == 0;
}

static int push_no_commit(lua_State *L, const struct proc_result *r,
                          const struct git_call *c, const char *line, size_t len)
{
    if (ends_with(line, len, " ambiguous"))
        return push_ambiguous(L, r, c);
    if (is_answer(line, len, "blob") || is_answer(line, len, "tree") ||
        is_answer(line, len, "tag"))
        return err_return(
            L, err_new("git.not_a_commit", c->op,
                       "%s: '%s' is there in %s, but it does not name a commit", c->op,
                       c->subject, c->dir));
    return 0;
}

/* The answers to REF as tag, branch, remote branch, whatever git takes for a commit, and
   anything at all: {commit, kind, name, remote_commit}, or nil where there is none. */
static int parse_resolve(lua_State *L, const struct proc_result *r,
                         const struct git_call *c)
{
    enum { TAG, BRANCH, REMOTE_BRANCH, COMMIT, ANYTHING, COUNT };
    static const char *const kinds[] = {"tag", "branch", "remote_branch", "commit"};
    struct git_reader in = git_reader_of(&r->out);
    const char *line[COUNT];
    size_t len[COUNT];
    bool found[COUNT];
    for (int i = 0; i < COUNT; i++) {
        if (!git_field(&in, '\n', &line[i], &len[i]))
            return git_unreadable(L, c);
        found[i] = is_answer(line[i], len[i], "commit");
    }
    size_t hex = strspn(c->subject, "0123456789abcdefABCDEF");
    bool full = (hex == 40 || hex == 64) && c->subject[hex] == '\0';
    bool named = !strpbrk(c->subject, "~^") && !strstr(c->subject, "@{");
    int best = named ? TAG : COMMIT;
    if (full && found[COMMIT])
        best = COMMIT; /* a full SHA is itself, whatever a tag or branch is called */
    while (best < ANYTHING && !found[best])
        best++;
    if (best == ANYTHING)
        return push_no_commit(L, r, c, line[ANYTHING], len[ANYTHING]);
    lua_createtable(L, 0, 4);
    git_set(L, "commit", line[best], strcspn(line[best], " "));
    lua_pushstring(L, kinds[best]);
    lua_setfield(L, -2, "kind");
    if (best == TAG)
        lua_pushfstring(L, "refs/tags/%s", c->subject);
    else if (best == BRANCH)
        lua_pushfstring(L, "refs/heads/%s", c->subject);
    else if (best == REMOTE_BRANCH)
        lua_pushfstring(L, "refs/remotes/%s/%s", c->remote, c->subject);
    else
        lua_pushnil(L);
    lua_setfield(L, -2, "name");
    if (named && found[REMOTE_BRANCH])
        git_set(L, "remote_commit", line[REMOTE_BRANCH],
                strcspn(line[REMOTE_BRANCH], " "));
    return 1;
}

/* resolve{ref, remote} → {commit, kind, name, remote_commit} | nil for none.
   A full SHA first, then a tag, a branch, a branch of the remote, then all else git
   understands. */
int l_git_resolve(lua_State *L)
{
    static const struct opt options[] = {GIT_COMMON,
                                         {"ref", OPT_STRING, true},
                                         {"remote", OPT_STRING, true},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.resolve", options);
    git_check_remote(L, "git.resolve");
    const char *ref = git_ref_option(L, "git.resolve", "ref");
    if (!ref)
        return 2;
    struct git_call *c = git_call_common(L, "git.resolve", true, parse_resolve);
    c->subject = mem_string(ref);
    c->remote = mem_string(opt_string(L, 1, "remote", NULL));
    GIT_ARGS(c, "cat-file", "--batch-check");
    struct buf questions;
    buf_init(&questions);
    buf_add_format(&questions, "refs/tags/%s^{commit}\nrefs/heads/%s^{commit}\n", ref,
                   ref);
    buf_add_format(&questions, "refs/remotes/%s/%s^{commit}\n", c->remote, ref);
    buf_add_format(&questions, "%s^{commit}\n%s\n", ref, ref);
    git_call_input(c, &questions);
    buf_fini(&questions);
    return git_wait(L, c);
}

#define REMOTE                                                                           \
    GIT_COMMON, {"remote", OPT_STRING, true}, { "ssh_command", OPT_STRING, false }

static struct git_call *remote_call(lua_State *L, const char *op, bool read_only,
                                    git_parser parse)
{
    struct git_call *c = git_call_common(L, op, read_only, parse);
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

/* "object\tname" lines, "name^{}" for what an annotated tag stands for: name → commit */
static int parse_remote_refs(lua_State *L, const struct proc_result *r,
                             const struct git_call *c)
{
    struct git_reader in = git_reader_of(&r->out);
    const char *line;
    size_t len;
    lua_newtable(L);
    while (git_field(&in, '\n', &line, &len)) {
        const char *tab = memchr(line, '\t', len);
        if (!tab)
            return git_unreadable(L, c);
        size_t name_len = len - (size_t)(tab + 1 - line);
        if (name_len > 3 && memcmp(line + len - 3, "^{}", 3) == 0)
            name_len -= 3; /* it follows the tag's own line and replaces it */
        lua_pushlstring(L, tab + 1, name_len);
        lua_pushlstring(L, line, (size_t)(tab - line));
        lua_rawset(L, -3);
    }
    return 1;
}

/* "flag\tfrom:to\tsummary" lines of `git push --porcelain`: a list of {flag, from, to,
   summary}. One that the remote does not take is an error of the whole. */
static int parse_push(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct git_reader in = git_reader_of(&r->out);
    const char *line;
    size_t len;
    int count = 0;
    struct buf refused;
    buf_init(&refused);
    lua_newtable(L);
    while (git_field(&in, '\n', &line, &len)) {
        struct git_reader parts = {line, line + len};
        const char *f[3];
        size_t n[3];
        int got = 0;
        while (got < 3 && git_field(&parts, '\t', &f[got], &n[got]))
            got++;
        const char *colon = got == 3 ? memchr(f[1], ':', n[1]) : NULL;
        if (!colon)
            continue; /* "To url", "Done" */
        size_t to = n[1] - (size_t)(colon + 1 - f[1]);
        if (*f[0] == '!') {
            buf_add_text(&refused, refused.len > 0 ? "; " : "");
            text_clean(&refused, colon + 1, to);
            buf_add_text(&refused, " ");
            text_clean(&refused, f[2], n[2]);
        }
        lua_createtable(L, 0, 4);
        git_set(L, "flag", f[0], n[0]);
        git_set(L, "from", f[1], (size_t)(colon - f[1]));
        git_set(L, "to", colon + 1, to);
        git_set_text(L, "summary", f[2], n[2]);
        lua_rawseti(L, -2, ++count);
    }
    struct err *e = NULL;
    if (refused.len > 0) {
        struct buf said;
        buf_init(&said);
        text_last_lines(&said, buf_text(&r->err), r->err.len, 6);
        e = err_new("git.rejected", c->op, "%s %s in %s: the remote did not take %s (%s)",
                    c->op, c->subject, c->dir, buf_text(&refused), buf_text(&said));
        err_hint(e, "Fetch, and see what the remote has that this repository has not");
        buf_fini(&said);
    } else if (r->status != 0) {
        e = git_error(r, c);
    }
    buf_fini(&refused);
    return e ? err_return(L, e) : 1;
}

/* remote_refs{remote, patterns} → name → commit, as the remote has it now */
int l_git_remote_refs(lua_State *L)
{
    static const struct opt options[] = {
        REMOTE, {"patterns", OPT_TABLE, false}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.remote_refs", options);
    git_check_remote(L, "git.remote_refs");
    char **patterns = opt_strings(L, 1, "patterns", "git.remote_refs");
    struct git_call *c = remote_call(L, "git.remote_refs", true, parse_remote_refs);
    GIT_ARGS(c, "ls-remote", "--quiet", "--end-of-options", c->remote);
    list_args(c, patterns);
    return git_wait(L, c);
}

/* fetch{remote, refspecs, depth, unshallow, prune} → true */
int l_git_fetch(lua_State *L)
{
    static const struct opt options[] = {REMOTE,
                                         {"refspecs", OPT_TABLE, false},
                                         {"depth", OPT_INTEGER, false},
                                         {"unshallow", OPT_BOOLEAN, false},
                                         {"prune", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.fetch", options);
    git_check_remote(L, "git.fetch");
    long long depth = opt_integer(L, 1, "depth", 0);
    char **refspecs = opt_strings(L, 1, "refspecs", "git.fetch");
    struct git_call *c = remote_call(L, "git.fetch", false, git_parse_nothing);
    GIT_ARGS(c, "fetch", "--no-recurse-submodules", "--no-auto-maintenance", "--quiet");
    if (depth > 0) {
        char *arg = mem_format("--depth=%lld", depth);
        proc_arg(c->setup, arg);
        mem_free(arg);
    }
    if (opt_boolean(L, 1, "unshallow", false))
        GIT_ARGS(c, "--unshallow");
    if (opt_boolean(L, 1, "prune", false))
        GIT_ARGS(c, "--prune");
    GIT_ARGS(c, "--end-of-options", c->remote);
    list_args(c, refspecs);
    return git_wait(L, c);
}

/* push{remote, refspecs} → list of {flag, from, to, summary} */
int l_git_push(lua_State *L)
{
    static const struct opt options[] = {
        REMOTE, {"refspecs", OPT_TABLE, true}, {NULL, 0, false}};
    op_check(L);
    opt_check(L, 1, "git.push", options);
    git_check_remote(L, "git.push");
    char **refspecs = opt_strings(L, 1, "refspecs", "git.push");
    struct git_call *c = remote_call(L, "git.push", false, parse_push);
    c->max_status = 1;
    GIT_ARGS(c, "push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags",
             "--recurse-submodules=no", "--end-of-options", c->remote);
    list_args(c, refspecs);
    return git_wait(L, c);
}
