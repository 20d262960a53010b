/* Each reader is called with the complete output of a command that ended well, and pushes
   one result, or nil and an error; it does not raise. Where names may contain spaces and
   newlines the command is asked for fields that end with NUL. A record of a log or of
   refs that lacks a field is an error: a shorter list would look like a complete one.

   The reader (git_reader) points into the output; whatever is kept is copied into Lua. */
#include "git/git_parse.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/text.h"

struct git_reader git_reader_of(const struct buf *b)
{
    const char *text = buf_text(b);
    return (struct git_reader){text, text + b->len};
}

bool git_field(struct git_reader *r, char mark, const char **text, size_t *len)
{
    if (r->at >= r->end)
        return false;
    const char *stop = memchr(r->at, mark, (size_t)(r->end - r->at));
    *text = r->at;
    *len = (size_t)((stop ? stop : r->end) - r->at);
    r->at = stop ? stop + 1 : r->end;
    return true;
}

void git_set(lua_State *L, const char *name, const char *text, size_t len)
{
    lua_pushlstring(L, text, len);
    lua_setfield(L, -2, name);
}

void git_set_text(lua_State *L, const char *name, const char *text, size_t len)
{
    struct buf b;
    buf_init(&b);
    text_clean(&b, text, len);
    git_set(L, name, buf_text(&b), b.len);
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
    struct git_reader r = {text, text + len};
    lua_newtable(L);
    for (int i = 1; git_field(&r, ' ', &text, &len); i++) {
        lua_pushlstring(L, text, len);
        lua_rawseti(L, -2, i);
    }
}

int git_unreadable(lua_State *L, const struct git_call *c)
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
    struct git_reader in = git_reader_of(&r->out);
    const char *line[4];
    size_t len[4];
    int n = 0;
    while (n < 4 && git_field(&in, '\n', &line[n], &len[n]))
        n++;
    if (n < 3) /* a failure of the last question alone is no failure */
        return err_return(L, git_error(r, c));
    lua_createtable(L, 0, 4);
    lua_pushboolean(L, len[0] == 4 && memcmp(line[0], "true", 4) == 0);
    lua_setfield(L, -2, "bare");
    lua_pushboolean(L, len[1] == 4 && memcmp(line[1], "true", 4) == 0);
    lua_setfield(L, -2, "shallow");
    git_set(L, "git_dir", line[2], len[2]);
    if (n == 4)
        git_set(L, "top", line[3], len[3]);
    return 1;
}

int git_parse_log(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct git_reader in = git_reader_of(&r->out);
    lua_newtable(L);
    for (int i = 1; in.at < in.end; i++) {
        const char *f[8];
        size_t len[8];
        for (int n = 0; n < 8; n++)
            if (!git_field(&in, '\0', &f[n], &len[n]))
                return git_unreadable(L, c);
        lua_createtable(L, 0, 8);
        git_set(L, "commit", f[0], len[0]);
        push_words(L, f[1], len[1]);
        lua_setfield(L, -2, "parents");
        git_set_text(L, "author", f[2], len[2]);
        git_set_text(L, "email", f[3], len[3]);
        set_number(L, "author_time", f[4]);
        git_set_text(L, "committer", f[5], len[5]);
        set_number(L, "time", f[6]);
        git_set_text(L, "subject", f[7], len[7]);
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
        return git_unreadable(L, c);
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
            git_set(L, headers[i].name, text + n, len - n);
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
    struct git_reader r = {text, text + len};
    const char *skipped;
    size_t skipped_len;
    for (int i = 0; i < spaces; i++)
        git_field(&r, ' ', &skipped, &skipped_len);
    lua_createtable(L, 0, 4);
    git_set(L, "path", r.at, (size_t)(r.end - r.at));
}

/* `git status --porcelain=v2 --branch -z`: {commit, branch, upstream, ahead, behind,
 * clean, files} */
int git_parse_status(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct git_reader in = git_reader_of(&r->out);
    const char *text;
    size_t len;
    (void)c;
    lua_createtable(L, 0, 7);
    lua_newtable(L);
    int count = 0;
    while (git_field(&in, '\0', &text, &len)) {
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
            git_set(L, "index", text + 2, 1);
            git_set(L, "worktree", text + 3, 1);
        }
        if (*text == 'u')
            set_true(L, "conflict");
        if (*text == '2' && git_field(&in, '\0', &text, &len))
            git_set(L, "from", text, len);
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
    struct git_reader in = git_reader_of(&r->out);
    const char *line;
    size_t len;
    lua_newtable(L);
    for (int i = 1; git_field(&in, '\n', &line, &len); i++) {
        struct git_reader words = {line, line + len};
        const char *f[3];
        size_t n[3];
        for (int w = 0; w < 3; w++)
            if (!git_field(&words, ' ', &f[w], &n[w]))
                return git_unreadable(L, c);
        lua_createtable(L, 0, 2);
        git_set(L, "name", f[2], n[2]);
        git_set(L, "commit", n[1] > 0 ? f[1] : f[0], n[1] > 0 ? n[1] : n[0]);
        lua_rawseti(L, -2, i);
    }
    return 1;
}

/* "tracked" or "untracked", from `git ls-files -t`; nil where it lists nothing */
int git_parse_tracking(lua_State *L, const struct proc_result *r,
                       const struct git_call *c)
{
    (void)c;
    if (r->out.len == 0)
        return 0;
    lua_pushstring(L, *buf_text(&r->out) == '?' ? "untracked" : "tracked");
    return 1;
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

/* The names in keys such as filter.NAME.clean, given --null --name-only */
int git_parse_filters(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    static const size_t section = sizeof "filter." - 1;
    struct git_reader in = git_reader_of(&r->out);
    const char *key;
    size_t len;
    while (git_field(&in, '\0', &key, &len)) {
        const char *dot = len > section ? memrchr(key, '.', len) : NULL;
        if (!dot || dot < key + section)
            continue;
        if (memchr(key, '=', len))
            return err_return(L, err_new("git.failed", c->op,
                                         "%s in %s: cannot turn off the filter %.*s",
                                         c->op, c->dir, (int)len, key));
        git_filter_add(key + section, (size_t)(dot - key) - section);
    }
    git_filters_known();
    lua_pushboolean(L, 1);
    return 1;
}

/* The first line, or nil where there is none */
int git_parse_line(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct git_reader in = git_reader_of(&r->out);
    const char *text;
    size_t len;
    (void)c;
    if (!git_field(&in, '\n', &text, &len))
        return 0;
    lua_pushlstring(L, text, len);
    return 1;
}

/* A list of paths, given -z */
int git_parse_paths(lua_State *L, const struct proc_result *r, const struct git_call *c)
{
    struct git_reader in = git_reader_of(&r->out);
    const char *text;
    size_t len;
    (void)c;
    lua_newtable(L);
    for (int i = 1; git_field(&in, '\0', &text, &len); i++) {
        lua_pushlstring(L, text, len);
        lua_rawseti(L, -2, i);
    }
    return 1;
}
