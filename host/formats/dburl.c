/* One pass from left to right, in SQLAlchemy's order: scheme, user and password, host,
   port, database, options. Each part is decoded into memory of its own, which dburl_fini
   wipes where it may be secret. No message quotes the text: in a malformed URL any part
   may be the password.

   dburl_libpq writes a new URL from the parts. Editing the text would keep parameters
   that libpq rejects; the list of those that it knows is that of libpq 15. */
#include "formats/dburl.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/modules.h"
#include "base/percent.h"
#include "secret/secret.h"

static struct err *invalid(const char *reason)
{
    return err_new("dburl.invalid", "dburl.parse", "the database URL %s", reason);
}

static char *decode(const char *from, size_t len, bool form)
{
    struct buf text;
    buf_init(&text);
    percent_decode(&text, from, len, form);
    char *copy = mem_string(buf_text(&text));
    buf_fini_wiped(&text);
    return copy;
}

static const char *find(const char *from, const char *end, const char *set)
{
    while (from < end && (!*from || !strchr(set, *from)))
        from++;
    return from;
}

static struct err *parse_scheme(const char *text, const char *end, struct dburl *url)
{
    const char *plus = find(text, end, "+");
    char *dialect = mem_copy(text, (size_t)(plus - text));
    if (plus < end)
        url->driver = mem_copy(plus + 1, (size_t)(end - plus - 1));
    bool postgres =
        strcmp(dialect, "postgresql") == 0 || strcmp(dialect, "postgres") == 0;
    struct err *e = NULL;
    if (postgres || strcmp(dialect, "sqlite") == 0)
        url->dialect = mem_string(postgres ? "postgresql" : "sqlite");
    else
        e = err_new("dburl.unsupported", "dburl.parse",
                    "'%s' databases are not supported; postgresql and sqlite are",
                    dialect);
    mem_free(dialect);
    return e;
}

/* "user:password@"; like SQLAlchemy's, a password may hold '/' and ends at the first '@'.
 */
static const char *parse_userinfo(const char *p, const char *end, struct dburl *url)
{
    const char *user_end = find(p, end, ":/?@");
    if (user_end == end || (*user_end != ':' && *user_end != '@'))
        return p;
    const char *at = find(user_end, end, "@");
    if (at == end)
        return p;
    url->user = decode(p, (size_t)(user_end - p), false);
    if (*user_end == ':')
        url->password = decode(user_end + 1, (size_t)(at - user_end - 1), false);
    return at + 1;
}

static struct err *parse_port(const char *from, const char *to, struct dburl *url)
{
    long port = 0;
    if (from == to)
        return NULL;
    for (; from < to && isdigit((unsigned char)*from) && port <= 65535; from++)
        port = port * 10 + (*from - '0');
    if (from < to || port < 1 || port > 65535)
        return invalid("has a port that is not a number from 1 to 65535");
    url->port = (int)port;
    return NULL;
}

static struct err *parse_host(const char **p, const char *end, struct dburl *url)
{
    const char *from = *p, *to = find(from, end, ":/?");
    if (from < end && *from == '[') {
        from++;
        to = find(from, end, "]");
        if (to == end)
            return invalid("has an address whose '[' is never closed");
        *p = to + 1;
    } else {
        *p = to;
    }
    if (to > from)
        url->host = decode(from, (size_t)(to - from), false);
    if (*p == end || **p != ':') {
        if (*p < end && **p != '/' && **p != '?')
            return invalid("has unexpected text after the host");
        return NULL;
    }
    const char *port = *p + 1;
    *p = find(port, end, "/?");
    return parse_port(port, *p, url);
}

static void add_option(struct dburl *url, const char *from, const char *to)
{
    const char *equals = find(from, to, "=");
    if (equals == from)
        return;
    url->options =
        mem_resize(url->options, (url->option_count + 1) * sizeof *url->options);
    struct dburl_option *option = &url->options[url->option_count++];
    option->name = decode(from, (size_t)(equals - from), true);
    option->value = equals < to ? decode(equals + 1, (size_t)(to - equals - 1), true)
                                : mem_string("");
}

static void parse_query(const char *p, const char *end, struct dburl *url)
{
    while (p < end) {
        const char *to = find(p, end, "&");
        add_option(url, p, to);
        p = to < end ? to + 1 : end;
    }
}

static struct err *parse_rest(const char *p, const char *end, struct dburl *url)
{
    bool sqlite = url->dialect && strcmp(url->dialect, "sqlite") == 0;
    if (!sqlite)
        p = parse_userinfo(p, end, url);
    struct err *e = parse_host(&p, end, url);
    if (e)
        return e;
    if (p < end && *p == '/') {
        const char *to = find(p + 1, end, "?");
        if (to > p + 1)
            url->database = mem_copy(p + 1, (size_t)(to - p - 1));
        p = to;
    }
    if (p < end)
        parse_query(p + 1, end, url);
    if (!sqlite)
        return NULL;
    if (url->host || url->port)
        return invalid(
            "names a host, which SQLite does not use: sqlite:///relative.db or "
            "sqlite:////absolute.db");
    url->path = mem_string(url->database ? url->database : ":memory:");
    return NULL;
}

struct err *dburl_parse(const char *text, size_t len, struct dburl *url)
{
    *url = (struct dburl){0};
    const char *end = text + len;
    while (end > text && isspace((unsigned char)end[-1]))
        end--;
    const char *mark = memmem(text, (size_t)(end - text), "://", 3);
    if (!mark || mark == text)
        return invalid("does not begin with a scheme such as postgresql://");
    for (const char *p = text; p < mark; p++)
        if (!isalnum((unsigned char)*p) && *p != '+' && *p != '_')
            return invalid("does not begin with a scheme such as postgresql://");
    for (const char *p = text; p < end; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return invalid("contains a control character");
    struct err *e = parse_scheme(text, mark, url);
    return e ? e : parse_rest(mark + 3, end, url);
}

static void free_wiped(char *text)
{
    if (text)
        mem_wipe(text, strlen(text));
    mem_free(text);
}

void dburl_fini(struct dburl *url)
{
    mem_free(url->dialect);
    mem_free(url->driver);
    mem_free(url->user);
    free_wiped(url->password);
    mem_free(url->host);
    mem_free(url->database);
    mem_free(url->path);
    for (size_t i = 0; i < url->option_count; i++) {
        mem_free(url->options[i].name);
        free_wiped(url->options[i].value);
    }
    mem_free(url->options);
    *url = (struct dburl){0};
}

/* https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-PARAMKEYWORDS */
static const char *const libpq_parameters[] = {
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "options",
    "passfile",
    "password",
    "port",
    "requirepeer",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
    NULL,
};

static bool is_listed(const char *const *list, const char *name)
{
    for (; *list; list++)
        if (strcmp(*list, name) == 0)
            return true;
    return false;
}

static void add_encoded(struct buf *out, const char *text)
{
    percent_encode(out, text, strlen(text));
}

static const char *find_option(const struct dburl *url, const char *name)
{
    for (size_t i = 0; i < url->option_count; i++)
        if (strcmp(url->options[i].name, name) == 0)
            return url->options[i].value;
    return NULL;
}

/* asyncpg takes the names of sslmode and Python's booleans. */
static const char *sslmode_of(const char *ssl)
{
    if (strcasecmp(ssl, "true") == 0 || strcmp(ssl, "1") == 0)
        return "require";
    if (strcasecmp(ssl, "false") == 0 || strcmp(ssl, "0") == 0)
        return "disable";
    return ssl;
}

static void add_parameter(struct buf *out, char *separator, const char *name,
                          const char *value)
{
    buf_add_char(out, *separator);
    *separator = '&';
    buf_add_text(out, name);
    buf_add_char(out, '=');
    add_encoded(out, value);
}

void dburl_libpq(const struct dburl *url, struct buf *out)
{
    buf_add_text(out, "postgresql://");
    if (url->user) {
        add_encoded(out, url->user);
        if (url->password) {
            buf_add_char(out, ':');
            add_encoded(out, url->password);
        }
        buf_add_char(out, '@');
    }
    bool bracket = url->host && strchr(url->host, ':');
    if (bracket)
        buf_add_format(out, "[%s]", url->host);
    else if (url->host)
        add_encoded(out, url->host);
    if (url->port)
        buf_add_format(out, ":%d", url->port);
    buf_add_char(out, '/');
    if (url->database)
        add_encoded(out, url->database);
    char separator = '?';
    for (size_t i = 0; i < url->option_count; i++)
        if (is_listed(libpq_parameters, url->options[i].name))
            add_parameter(out, &separator, url->options[i].name, url->options[i].value);
    const char *ssl = find_option(url, "ssl");
    if (ssl && !find_option(url, "sslmode"))
        add_parameter(out, &separator, "sslmode", sslmode_of(ssl));
}

/* The Lua face. */

static const char *check_url(lua_State *L, const char *op, size_t *len)
{
    const char *text = secret_bytes(L, 1, len);
    if (!text)
        err_argument(L, op, "needs a sealed value or a string, not %s",
                     luaL_typename(L, 1));
    return text;
}

static void set_string(lua_State *L, const char *name, const char *value)
{
    if (!value)
        return;
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static void push_options(lua_State *L, const struct dburl *url)
{
    static const char *const hidden[] = {"password", "sslpassword", NULL};
    lua_createtable(L, 0, (int)url->option_count);
    for (size_t i = 0; i < url->option_count; i++)
        if (!is_listed(hidden, url->options[i].name))
            set_string(L, url->options[i].name, url->options[i].value);
}

/* parse(sealed|string) → all but the password | nil, err */
static int l_parse(lua_State *L)
{
    size_t len;
    const char *text = check_url(L, "dburl.parse", &len);
    struct dburl url;
    struct err *e = dburl_parse(text, len, &url);
    if (!e) {
        lua_createtable(L, 0, 8);
        set_string(L, "dialect", url.dialect);
        set_string(L, "driver", url.driver);
        set_string(L, "user", url.user);
        set_string(L, "host", url.host ? url.host : find_option(&url, "host"));
        set_string(L, "database", url.path ? NULL : url.database);
        set_string(L, "path", url.path);
        if (url.port) {
            lua_pushinteger(L, url.port);
            lua_setfield(L, -2, "port");
        }
        push_options(L, &url);
        lua_setfield(L, -2, "options");
    }
    dburl_fini(&url);
    return e ? err_return(L, e) : 1;
}

/* libpq(sealed|string) → sealed | nil, err */
static int l_libpq(lua_State *L)
{
    size_t len;
    const char *text = check_url(L, "dburl.libpq", &len);
    struct dburl url;
    struct err *e = dburl_parse(text, len, &url);
    if (!e && url.path)
        e = err_new("dburl.unsupported", "dburl.libpq",
                    "the database URL is not a PostgreSQL URL");
    if (!e) {
        const struct secret *s = secret_test(L, 1);
        struct buf out;
        buf_init(&out);
        dburl_libpq(&url, &out);
        secret_push(L, s ? secret_derive(secret_name(s), out.data, out.len)
                         : secret_new("database URL", out.data, out.len));
        buf_fini_wiped(&out);
    }
    dburl_fini(&url);
    return e ? err_return(L, e) : 1;
}

int luaopen_host_dburl(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"libpq", l_libpq},
        {"parse", l_parse},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
