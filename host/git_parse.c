#include "git_parse.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "err.h"
#include "text.h"

/* A cursor over output that is made of fields. */
struct reader {
    const char *at;
    const char *end;
};

static struct reader reader_of(const struct buf *b)
{
    const char *text = buf_text(b);
    return (struct reader){text, text + b->len};
}

/* The next field, up to `mark` or the end. False when there is none. */
static bool field(struct reader *r, char mark, const char **text, size_t *len)
{
    if (r->at >= r->end)
        return false;
    const char *stop = memchr(r->at, mark, (size_t)(r->end - r->at));
    *text = r->at;
    *len = (size_t)((stop ? stop : r->end) - r->at);
    r->at = stop ? stop + 1 : r->end;
    return true;
}

static void set_bytes(lua_State *L, const char *name, const char *text, size_t len)
{
    lua_pushlstring(L, text, len);
    lua_setfield(L, -2, name);
}

static void set_clean(lua_State *L, const char *name, const char *text, size_t len)
{
    struct buf b;
    buf_init(&b);
    text_clean(&b, text, len);
    set_bytes(L, name, buf_text(&b), b.len);
    buf_fini(&b);
}

static void set_number(lua_State *L, const char *name, const char *text)
{
    lua_pushnumber(L, (lua_Number)strtoll(text, NULL, 10));
    lua_setfield(L, -2, name);
}

static void set_true(lua_State *L, const char *name)
{
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, name);
}

/* Pushes the words between single spaces as a list. */
static void push_words(lua_State *L, const char *text, size_t len)
{
    struct reader r = {text, text + len};
    lua_newtable(L);
    for (int i = 1; field(&r, ' ', &text, &len); i++) {
        lua_pushlstring(L, text, len);
        lua_rawseti(L, -2, i);
    }
}

static int unreadable(lua_State *L, const struct git_call *c)
{
    return err_return(L, err_new("git.failed", c->op,
                                 "%s in %s: git's answer cannot be read", c->op, c->dir));
}

int git_parse_nothing(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    (void)r;
    (void)c;
    lua_pushboolean(L, 1);
    return 1;
}

/* {git_dir, bare, shallow, top}: `top` is absent where there is no working tree */
int git_parse_info(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct reader in = reader_of(&r->out);
    const char *line[4];
    size_t len[4];
    int n = 0;
    while (n < 4 && field(&in, '\n', &line[n], &len[n]))
        n++;
    if (n < 3) /* a failure of the last question alone is no failure */
        return err_return(L, git_error(r, c));
    lua_createtable(L, 0, 4);
    lua_pushboolean(L, len[0] == 4 && memcmp(line[0], "true", 4) == 0);
    lua_setfield(L, -2, "bare");
    lua_pushboolean(L, len[1] == 4 && memcmp(line[1], "true", 4) == 0);
    lua_setfield(L, -2, "shallow");
    set_bytes(L, "git_dir", line[2], len[2]);
    if (n == 4)
        set_bytes(L, "top", line[3], len[3]);
    return 1;
}

static int push_ambiguous(lua_State *L, const struct proc_result *r,
                          const struct git_call *c)
{
    struct err *e =
        err_new("git.ambiguous_ref", c->op,
                "%s: '%s' is the beginning of more than one commit's SHA in %s", c->op,
                c->subject, c->dir);
    struct buf candidates;
    buf_init(&candidates);
    struct reader in = reader_of(&r->err);
    const char *line;
    size_t len;
    while (field(&in, '\n', &line, &len)) {
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
int git_parse_resolve(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    enum { TAG, BRANCH, REMOTE_BRANCH, COMMIT, ANYTHING, COUNT };
    static const char *const kinds[] = {"tag", "branch", "remote_branch", "commit"};
    struct reader in = reader_of(&r->out);
    const char *line[COUNT];
    size_t len[COUNT];
    bool found[COUNT];
    for (int i = 0; i < COUNT; i++) {
        if (!field(&in, '\n', &line[i], &len[i]))
            return unreadable(L, c);
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
    set_bytes(L, "commit", line[best], strcspn(line[best], " "));
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
        set_bytes(L, "remote_commit", line[REMOTE_BRANCH],
                  strcspn(line[REMOTE_BRANCH], " "));
    return 1;
}

int git_parse_log(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct reader in = reader_of(&r->out);
    lua_newtable(L);
    for (int i = 1; in.at < in.end; i++) {
        const char *f[8];
        size_t len[8];
        for (int n = 0; n < 8; n++)
            if (!field(&in, '\0', &f[n], &len[n]))
                return unreadable(L, c);
        lua_createtable(L, 0, 8);
        set_bytes(L, "commit", f[0], len[0]);
        push_words(L, f[1], len[1]);
        lua_setfield(L, -2, "parents");
        set_clean(L, "author", f[2], len[2]);
        set_clean(L, "email", f[3], len[3]);
        set_number(L, "author_time", f[4]);
        set_clean(L, "committer", f[5], len[5]);
        set_number(L, "time", f[6]);
        set_clean(L, "subject", f[7], len[7]);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

int git_parse_ancestor(lua_State *L, const struct proc_result *r,
                       const struct git_call *c)
{
    (void)c;
    lua_pushboolean(L, r->status == 0);
    return 1;
}

/* "3\t5": commits only on the left, only on the right */
int git_parse_count(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    char *rest;
    const char *text = buf_text(&r->out);
    long long left = strtoll(text, &rest, 10);
    if (rest == text || *rest != '\t')
        return unreadable(L, c);
    lua_createtable(L, 0, 2);
    lua_pushnumber(L, (lua_Number)left);
    lua_setfield(L, -2, "behind");
    set_number(L, "ahead", rest + 1);
    return 1;
}

static void status_header(lua_State *L, const char *text, size_t len)
{
    static const struct {
        const char *key;
        const char *name;
    } headers[] = {
        {"# branch.oid ", "commit"},
        {"# branch.head ", "branch"},
        {"# branch.upstream ", "upstream"},
    };
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(headers[i].key);
        if (len > n && memcmp(text, headers[i].key, n) == 0 && text[n] != '(')
            set_bytes(L, headers[i].name, text + n, len - n);
    }
    const char *ab = len > 12 && memcmp(text, "# branch.ab ", 12) == 0 ? text + 12 : NULL;
    const char *minus = ab ? memchr(ab, '-', len - 12) : NULL;
    if (minus) {
        set_number(L, "ahead", ab + 1);
        set_number(L, "behind", minus + 1);
    }
}

/* The path is what follows `spaces` spaces. */
static void push_file(lua_State *L, const char *text, size_t len, int spaces)
{
    struct reader r = {text, text + len};
    const char *skipped;
    size_t skipped_len;
    for (int i = 0; i < spaces; i++)
        field(&r, ' ', &skipped, &skipped_len);
    lua_createtable(L, 0, 4);
    set_bytes(L, "path", r.at, (size_t)(r.end - r.at));
}

/* `git status --porcelain=v2 --branch -z`: {commit, branch, upstream, ahead, behind,
 * clean, files} */
int git_parse_status(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct reader in = reader_of(&r->out);
    const char *text;
    size_t len;
    (void)c;
    lua_createtable(L, 0, 7);
    lua_newtable(L);
    int count = 0;
    while (field(&in, '\0', &text, &len)) {
        if (len < 3)
            continue;
        if (*text == '#') {
            lua_pushvalue(L, -2);
            status_header(L, text, len);
            lua_pop(L, 1);
            continue;
        }
        push_file(L, text, len,
                  *text == '1'   ? 8
                  : *text == '2' ? 9
                  : *text == 'u' ? 10
                                 : 1);
        if (*text == '?') {
            set_true(L, "untracked");
        } else if (*text != '!') {
            set_bytes(L, "index", text + 2, 1);
            set_bytes(L, "worktree", text + 3, 1);
        }
        if (*text == 'u')
            set_true(L, "conflict");
        if (*text == '2' && field(&in, '\0', &text, &len))
            set_bytes(L, "from", text, len);
        lua_rawseti(L, -2, ++count);
    }
    lua_setfield(L, -2, "files");
    lua_pushboolean(L, count == 0);
    lua_setfield(L, -2, "clean");
    return 1;
}

/* "commit [peeled] name" lines: {name, commit}, an annotated tag by the commit it stands
 * for */
int git_parse_refs(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct reader in = reader_of(&r->out);
    const char *line;
    size_t len;
    lua_newtable(L);
    for (int i = 1; field(&in, '\n', &line, &len); i++) {
        struct reader words = {line, line + len};
        const char *f[3];
        size_t n[3];
        for (int w = 0; w < 3; w++)
            if (!field(&words, ' ', &f[w], &n[w]))
                return unreadable(L, c);
        lua_createtable(L, 0, 2);
        set_bytes(L, "name", f[2], n[2]);
        set_bytes(L, "commit", n[1] > 0 ? f[1] : f[0], n[1] > 0 ? n[1] : n[0]);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* "object\tname" lines, "name^{}" for what an annotated tag stands for: name → commit */
int git_parse_remote_refs(lua_State *L, const struct proc_result *r,
                          const struct git_call *c)
{
    struct reader in = reader_of(&r->out);
    const char *line;
    size_t len;
    lua_newtable(L);
    while (field(&in, '\n', &line, &len)) {
        const char *tab = memchr(line, '\t', len);
        if (!tab)
            return unreadable(L, c);
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
int git_parse_push(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct reader in = reader_of(&r->out);
    const char *line;
    size_t len;
    int count = 0;
    struct buf refused;
    buf_init(&refused);
    lua_newtable(L);
    while (field(&in, '\n', &line, &len)) {
        struct reader parts = {line, line + len};
        const char *f[3];
        size_t n[3];
        int got = 0;
        while (got < 3 && field(&parts, '\t', &f[got], &n[got]))
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
        set_bytes(L, "flag", f[0], n[0]);
        set_bytes(L, "from", f[1], (size_t)(colon - f[1]));
        set_bytes(L, "to", colon + 1, to);
        set_clean(L, "summary", f[2], n[2]);
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

/* The value that `git config --null --get` prints, or nil */
int git_parse_config(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    (void)c;
    if (r->status != 0)
        return 0;
    size_t len = r->out.len;
    lua_pushlstring(L, buf_text(&r->out), len > 0 ? len - 1 : 0);
    return 1;
}
