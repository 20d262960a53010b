/* From a ref to its commit. */
#include <lauxlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/text.h"
#include "git/git_options.h"
#include "git/git_parse.h"
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
