/* host.sql: SQL as PostgreSQL's own lexer and parser read it, by libpg_query.

   The library is linked into this module alone and none of its 2,125 symbols leaves it:
   libpq has one of the same name. It works on C strings, keeps its memory in contexts
   that it frees with the result, and turns errors, deep nesting among them, into results.
   While it works it redirects descriptor 2 into a pipe, so nothing may write to stderr
   meanwhile: it is called on the thread of the loop, and does not wait. pg_query_exit is
   never called (use after free). */
#include <lauxlib.h>
#include <limits.h>
#include <pg_query.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"

enum {
    SIZE_LIMIT = 2 * 1024 * 1024,
    CHAIN_LIMIT = 20 * 1000,
    BRACKETS_LIMIT = 12 * 1000, /* the grammar's own is below it */
};

/* The byte at which a character stands; the library counts characters, from 1. */
static size_t byte_of(const char *text, size_t len, int character)
{
    size_t at = 0;
    for (int i = 1; i < character && at < len; i++) {
        at++;
        while (at < len && ((unsigned char)text[at] & 0xc0) == 0x80)
            at++;
    }
    return at;
}

static struct err *error_at(const char *op, const char *message, size_t byte)
{
    bool is_open = strncmp(message, "unterminated", strlen("unterminated")) == 0;
    struct err *e =
        err_new(is_open ? "sql.unterminated" : "sql.syntax", op, "%s", message);
    err_field_int(e, "at", (long long)byte + 1);
    return e;
}

static struct err *error_of(const char *op, const PgQueryError *found, const char *text,
                            size_t len)
{
    int character = found->cursorpos > 0 ? found->cursorpos : 1;
    return error_at(op, found->message, byte_of(text, len, character));
}

/* The library would stop at a NUL byte and take the rest for read. */
static struct err *check_text(const char *op, const char *text, size_t len)
{
    if (len > SIZE_LIMIT)
        return err_new("sql.too_large", op, "the SQL has %zu bytes; the limit is %d", len,
                       SIZE_LIMIT);
    const char *nul = memchr(text, '\0', len);
    return nul ? error_at(op, "a NUL byte", (size_t)(nul - text)) : NULL;
}

/* Tokens come as a protobuf message: ScanResult { repeated ScanToken tokens = 2; },
   ScanToken { int32 start = 1; int32 end = 2; … }. Their kinds are numbers that differ
   between grammars, and are not needed: the text at that place tells. */
struct wire {
    const unsigned char *at, *end;
};

static uint64_t wire_number(struct wire *w)
{
    uint64_t value = 0;
    for (unsigned shift = 0; w->at < w->end && shift < 64; shift += 7) {
        unsigned char byte = *w->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            break;
    }
    return value;
}

enum { WIRE_NUMBER = 0, WIRE_BYTES = 2 };

/* The next field: its number, 0 at the end. A number is left in `value`, bytes in
 * `inside`. */
static unsigned wire_field(struct wire *w, uint64_t *value, struct wire *inside)
{
    if (w->at >= w->end)
        return 0;
    uint64_t key = wire_number(w);
    *value = wire_number(w);
    *inside = (struct wire){w->at, w->at};
    if ((key & 7) == WIRE_NUMBER)
        return (unsigned)(key >> 3);
    if ((key & 7) != WIRE_BYTES || *value > (uint64_t)(w->end - w->at))
        return 0;
    inside->end = w->at += *value;
    return (unsigned)(key >> 3);
}

struct token {
    size_t from, to; /* bytes; `to` is behind it */
};

static bool next_token(struct wire *w, size_t len, struct token *token)
{
    uint64_t value = 0;
    struct wire inside;
    unsigned field = 0;
    while ((field = wire_field(w, &value, &inside)) != 0) {
        if (field != 2)
            continue;
        struct wire unused;
        *token = (struct token){0, 0};
        while ((field = wire_field(&inside, &value, &unused)) != 0) {
            if (field == 1)
                token->from = value;
            else if (field == 2)
                token->to = value;
        }
        if (token->from < token->to && token->to <= len)
            return true;
    }
    return false;
}

/* The tree of `1 + 1 + 1 …` is as deep as it has operators, and the library recurses over
   the tree without looking at its stack: 100,000 terms end the process. A tree is at most
   as deep as there are tokens since the last comma or semicolon, in each pair of brackets
   that is open, together. A chain of UNION and its like goes on across the commas of the
   queries that it joins. */
struct depth {
    size_t chain;                      /* the tokens */
    size_t before[BRACKETS_LIMIT + 1]; /* what a comma leaves of it, at each level */
    size_t brackets;
};

static bool joins_queries(const char *word, size_t len)
{
    static const char *const words[] = {"union", "intersect", "except"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (len == strlen(words[i]) && strncasecmp(word, words[i], len) == 0)
            return true;
    return false;
}

static void count_token(struct depth *d, const char *token, size_t len)
{
    size_t *before = &d->before[d->brackets];
    char c = *token;
    d->chain++;
    if (c == '(' || c == '[') {
        d->before[++d->brackets] = d->chain;
    } else if ((c == ')' || c == ']') && d->brackets) {
        d->brackets--;
        d->chain = *before;
    } else if (c == ',') {
        d->chain = *before;
    } else if (c == ';') {
        *before = d->brackets ? *before : 0;
        d->chain = *before;
    } else if (joins_queries(token, len)) {
        ++*before;
    }
}

static struct err *check_depth(const char *op, const char *text, size_t len)
{
    struct err *e = NULL;
    PgQueryScanResult result = pg_query_scan(text);
    if (!result.error) { /* else the parser reports it */
        const unsigned char *data = (const unsigned char *)result.pbuf.data;
        struct wire tokens = {data, data + result.pbuf.len};
        struct depth *d = mem_alloc(sizeof *d);
        struct token t;
        while (!e && d->brackets < BRACKETS_LIMIT && next_token(&tokens, len, &t)) {
            count_token(d, text + t.from, t.to - t.from);
            if (d->chain <= CHAIN_LIMIT)
                continue;
            e = err_new("sql.too_large", op,
                        "an expression has more than %d words; the parser would use up "
                        "the stack",
                        CHAIN_LIMIT);
            err_field_int(e, "at", (long long)t.from + 1);
        }
        mem_free(d);
    }
    pg_query_free_scan_result(result);
    return e;
}

/* parse(text) → JSON | nil, err */
static int l_parse(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct err *e = check_text("sql.parse", text, len);
    if (!e)
        e = check_depth("sql.parse", text, len);
    if (e)
        return err_return(L, e);
    PgQueryParseResult result = pg_query_parse(text);
    if (result.error)
        e = error_of("sql.parse", result.error, text, len);
    else
        lua_pushstring(L, result.parse_tree);
    pg_query_free_parse_result(result);
    return e ? err_return(L, e) : 1;
}

/* parse_plpgsql(text) → JSON | nil, err: the bodies of one DO or CREATE FUNCTION */
static int l_parse_plpgsql(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct err *e = check_text("sql.parse_plpgsql", text, len);
    if (!e)
        e = check_depth("sql.parse_plpgsql", text, len);
    if (e)
        return err_return(L, e);
    PgQueryPlpgsqlParseResult result = pg_query_parse_plpgsql(text);
    if (result.error)
        e = error_of("sql.parse_plpgsql", result.error, text, len);
    else
        lua_pushstring(L, result.plpgsql_funcs);
    pg_query_free_plpgsql_parse_result(result);
    return e ? err_return(L, e) : 1;
}

/* What is known of the statement that is being read. */
struct splitter {
    lua_State *L;
    const char *text;
    bool is_sqlite;
    int count;           /* items so far */
    unsigned words;      /* tokens of the statement so far */
    size_t from, to;     /* of the statement */
    unsigned parens;     /* open ones */
    unsigned bodies;     /* open BEGIN ATOMIC … END, CASE … END in it */
    bool creates;        /* it begins with CREATE */
    bool is_trigger;     /* CREATE TRIGGER, CREATE TEMP TRIGGER */
    bool begin_was_last; /* the token before is BEGIN */
};

static bool is_word(const struct splitter *s, const struct token *t, const char *word)
{
    size_t len = strlen(word);
    return t->to - t->from == len && strncasecmp(s->text + t->from, word, len) == 0;
}

static void push_item(struct splitter *s, size_t from, size_t to, bool is_comment)
{
    lua_createtable(s->L, 0, 3);
    lua_pushinteger(s->L, (lua_Integer)from + 1);
    lua_setfield(s->L, -2, "from");
    lua_pushinteger(s->L, (lua_Integer)to);
    lua_setfield(s->L, -2, "to");
    if (is_comment) {
        lua_pushboolean(s->L, true);
        lua_setfield(s->L, -2, "comment");
    }
    lua_rawseti(s->L, -2, ++s->count);
}

static void finish_statement(struct splitter *s)
{
    if (s->words > 0)
        push_item(s, s->from, s->to, false);
    s->words = s->parens = s->bodies = 0;
    s->creates = s->is_trigger = s->begin_was_last = false;
}

/* A function's body (PostgreSQL) and a trigger's (SQLite) hold semicolons of their own.
 */
static bool opens_body(const struct splitter *s, const struct token *t)
{
    if (s->bodies > 0)
        return is_word(s, t, "case");
    if (s->is_sqlite)
        return s->is_trigger && is_word(s, t, "begin");
    return s->creates && s->begin_was_last && is_word(s, t, "atomic");
}

static void add_token(struct splitter *s, const struct token *t)
{
    if (s->words++ == 0) {
        s->from = t->from;
        s->creates = is_word(s, t, "create");
    }
    s->to = t->to;
    if (s->creates && s->words <= 3 && is_word(s, t, "trigger"))
        s->is_trigger = true;
    if (s->text[t->from] == '(')
        s->parens++;
    else if (s->text[t->from] == ')' && s->parens > 0)
        s->parens--;
    else if (opens_body(s, t))
        s->bodies++;
    else if (s->bodies > 0 && is_word(s, t, "end"))
        s->bodies--;
    s->begin_was_last = is_word(s, t, "begin");
}

static bool is_comment(const char *text, const struct token *t)
{
    return t->to - t->from >= 2 &&
           (memcmp(text + t->from, "--", 2) == 0 || memcmp(text + t->from, "/*", 2) == 0);
}

static void split(struct splitter *s, struct wire *tokens, size_t len)
{
    struct token t;
    while (next_token(tokens, len, &t)) {
        if (is_comment(s->text, &t)) {
            if (s->words == 0)
                push_item(s, t.from, t.to, true);
        } else if (s->text[t.from] == ';' && s->parens == 0 && s->bodies == 0) {
            finish_statement(s);
        } else {
            add_token(s, &t);
        }
    }
    finish_statement(s);
}

/* split(text [, {sqlite=}]) → {{from=, to=, comment=}, …}: statements and the comments
   between them, by bytes | nil, err. A comment within a statement belongs to it. */
static int l_split(lua_State *L)
{
    static const struct opt options[] = {{"sqlite", OPT_BOOLEAN, false},
                                         {NULL, 0, false}};
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct splitter s = {.L = L, .text = text};
    if (!lua_isnoneornil(L, 2)) {
        opt_check(L, 2, "sql.split", options);
        s.is_sqlite = opt_boolean(L, 2, "sqlite", false);
    }
    struct err *e = check_text("sql.split", text, len);
    if (e)
        return err_return(L, e);
    lua_newtable(L);
    PgQueryScanResult result = pg_query_scan(text);
    if (result.error) {
        e = error_of("sql.split", result.error, text, len);
    } else {
        const unsigned char *data = (const unsigned char *)result.pbuf.data;
        split(&s, &(struct wire){data, data + result.pbuf.len}, len);
    }
    pg_query_free_scan_result(result);
    return e ? err_return(L, e) : 1;
}

/* words(text) → {{from=, to=}, …}: all tokens but comments | nil, err */
static int l_words(lua_State *L)
{
    size_t len = 0;
    const char *text = luaL_checklstring(L, 1, &len);
    struct err *e = check_text("sql.words", text, len);
    if (e)
        return err_return(L, e);
    struct splitter s = {.L = L, .text = text};
    lua_newtable(L);
    PgQueryScanResult result = pg_query_scan(text);
    if (result.error) {
        e = error_of("sql.words", result.error, text, len);
    } else {
        const unsigned char *data = (const unsigned char *)result.pbuf.data;
        struct wire tokens = {data, data + result.pbuf.len};
        struct token t;
        while (next_token(&tokens, len, &t))
            if (!is_comment(text, &t))
                push_item(&s, t.from, t.to, false);
    }
    pg_query_free_scan_result(result);
    return e ? err_return(L, e) : 1;
}

int luaopen_host_sql(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"parse", l_parse}, {"parse_plpgsql", l_parse_plpgsql},
        {"split", l_split}, {"words", l_words},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    lua_pushliteral(L, PG_MAJORVERSION);
    lua_setfield(L, -2, "grammar");
    return 1;
}
