/* host.http: request, stream and connect. */
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "base/modules.h"
#include "base/opt.h"
#include "http/http.h"
#include "loop/task.h"

#define STREAM "dgrun.http.stream"

enum {
    DEFAULT_TIMEOUT = 60,
    DEFAULT_CONNECT_TIMEOUT = 10,
    DEFAULT_LIMIT = 64 * 1024 * 1024,
};

enum { LAST_PORT = 65535 };

static const struct opt connect_options[] = {
    {"host", OPT_STRING, true},
    {"port", OPT_INTEGER, true},
    {"timeout", OPT_SECONDS, false},
    {NULL, 0, false},
};

static const struct opt options[] = {
    {"url", OPT_STRING, true},
    {"method", OPT_STRING, false},
    {"headers", OPT_TABLE, false},
    {"body", OPT_ANY, false},
    {"body_file", OPT_STRING, false},
    {"timeout", OPT_SECONDS, false},
    {"connect_timeout", OPT_SECONDS, false},
    {"limit", OPT_INTEGER, false},
    {"ca_file", OPT_STRING, false},
    {"follow", OPT_BOOLEAN, false},
    {NULL, 0, false},
};

static bool is_method(const char *method)
{
    size_t len = strlen(method);
    if (len == 0 || len > 20)
        return false;
    for (; *method; method++)
        if (!isupper((unsigned char)*method))
            return false;
    return true;
}

static void read_headers(lua_State *L, const char *op, struct curl_slist **list,
                         bool *sealed)
{
    if (!opt_push(L, 1, "headers"))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        size_t len = 0;
        const char *value = secret_bytes(L, -1, &len);
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (!name || !value || !http_add_header(list, name, value, len)) {
            http_free_headers(*list);
            err_argument(L, op, "header '%s' must be a name with a single-line value",
                         name ? name : "?");
        }
        if (secret_test(L, -1))
            *sealed = true;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static struct transfer *start(lua_State *L, const char *op, bool streaming,
                              struct err **error)
{
    opt_check(L, 1, op, options);
    struct http_spec spec = {
        .op = op,
        .url = opt_string(L, 1, "url", NULL),
        .method = opt_string(L, 1, "method", "GET"),
        .body_file = opt_string(L, 1, "body_file", NULL),
        .ca_file = opt_string(L, 1, "ca_file", NULL),
        .timeout = opt_seconds(L, 1, "timeout", streaming ? 0 : DEFAULT_TIMEOUT),
        .connect_timeout = opt_seconds(L, 1, "connect_timeout", DEFAULT_CONNECT_TIMEOUT),
        .limit = opt_integer(L, 1, "limit", DEFAULT_LIMIT),
        .follow = opt_boolean(L, 1, "follow", false),
        .streaming = streaming,
    };
    if (!is_method(spec.method))
        err_argument(L, op, "'%s' is not a method", spec.method);
    if (opt_push(L, 1, "body")) {
        spec.sealed_body = secret_test(L, -1);
        if (!spec.sealed_body && lua_type(L, -1) != LUA_TSTRING)
            err_argument(L, op, "option 'body' must be a string or a sealed value");
        if (!spec.sealed_body)
            spec.body = lua_tolstring(L, -1, &spec.body_len);
        spec.sealed = spec.sealed_body != NULL;
        lua_pop(L, 1);
    }
    struct http *h = http_of(L);
    read_headers(L, op, &spec.headers, &spec.sealed);
    return http_start(h, &spec, error);
}

static int push_end(struct transfer *t, lua_State *L)
{
    struct err *e = http_error(t);
    if (e)
        return err_return(L, e);
    http_push_answer(t, L);
    return 1;
}

/* request{url=, …} → {status, headers, body, url, seconds, version} | nil, err */
static int l_request(lua_State *L)
{
    op_check(L);
    struct err *error = NULL;
    struct transfer *t = start(L, "http.request", false, &error);
    if (!t)
        return err_return(L, error);
    return http_wait(L, t, HTTP_END, push_end);
}

/* The name of a host or an address: nothing that ends it within a URL. */
static bool is_host(const char *host)
{
    size_t len = strlen(host);
    if (len == 0 || len > 253)
        return false;
    for (; *host; host++)
        if (!isalnum((unsigned char)*host) && !strchr("-._:", *host))
            return false;
    return true;
}

static int push_connection(struct transfer *t, lua_State *L)
{
    struct err *e = http_error(t);
    if (e)
        return err_return(L, e);
    http_push_connection(t, L);
    return 1;
}

/* connect{host=, port=} → {address, seconds} | nil, err: a TCP connection, and no more */
static int l_connect(lua_State *L)
{
    static const char op[] = "http.connect";
    op_check(L);
    opt_check(L, 1, op, connect_options);
    const char *host = opt_string(L, 1, "host", NULL);
    long long port = opt_integer(L, 1, "port", 0);
    double timeout = opt_seconds(L, 1, "timeout", DEFAULT_CONNECT_TIMEOUT);
    if (!is_host(host))
        err_argument(L, op, "option 'host' is not the name or the address of a host");
    if (port < 1 || port > LAST_PORT)
        err_argument(L, op, "option 'port' must be a number from 1 to %d", LAST_PORT);
    bool v6 = strchr(host, ':') != NULL;
    const char *url = lua_pushfstring(L, "http://%s%s%s:%d", v6 ? "[" : "", host,
                                      v6 ? "]" : "", (int)port);
    struct http_spec spec = {
        .op = op,
        .method = "CONNECT",
        .url = url,
        .timeout = timeout,
        .connect_timeout = timeout,
        .read_only = true,
        .connect_only = true,
    };
    struct err *error = NULL;
    struct transfer *t = http_start(http_of(L), &spec, &error);
    if (!t)
        return err_return(L, error);
    return http_wait(L, t, HTTP_END, push_connection);
}

static int push_headers(struct transfer *t, lua_State *L)
{
    /* The box was made before the wait; it is fetched by the transfer's address. */
    lua_pushlightuserdata(L, t);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_pushlightuserdata(L, t);
    lua_pushnil(L);
    lua_rawset(L, LUA_REGISTRYINDEX);
    struct err *e = http_error(t);
    if (!e)
        return 1;
    http_free(t);
    return err_return(L, e);
}

/* stream{url=, …} → stream | nil, err: after the headers came */
static int l_stream(lua_State *L)
{
    op_check(L);
    struct transfer **box = lua_newuserdata(L, sizeof(struct transfer *));
    *box = NULL;
    luaL_getmetatable(L, STREAM);
    lua_setmetatable(L, -2);
    struct err *error = NULL;
    struct transfer *t = start(L, "http.stream", true, &error);
    if (!t)
        return err_return(L, error);
    http_own(t, box);
    lua_pushlightuserdata(L, t);
    lua_pushvalue(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    return http_wait(L, t, HTTP_HEADERS, push_headers);
}

static struct transfer **check_box(lua_State *L) { return luaL_checkudata(L, 1, STREAM); }

static struct transfer *check_stream(lua_State *L)
{
    struct transfer *t = *check_box(L);
    if (!t)
        luaL_error(L, "the stream is closed");
    return t;
}

static int push_bytes(struct transfer *t, lua_State *L)
{
    if (http_unread(t) > 0) {
        http_take_body(t, L);
        return 1;
    }
    struct err *e = http_error(t);
    if (e)
        return err_return(L, e);
    lua_pushnil(L);
    return 1;
}

/* stream:read() → bytes | nil at the end | nil, err */
static int l_read(lua_State *L)
{
    op_check(L);
    return http_wait(L, check_stream(L), HTTP_BYTES, push_bytes);
}

static int l_status(lua_State *L)
{
    lua_pushinteger(L, http_status(check_stream(L)));
    return 1;
}

static int l_headers(lua_State *L)
{
    http_push_headers(check_stream(L), L);
    return 1;
}

static int l_close(lua_State *L)
{
    struct transfer *t = *check_box(L);
    if (t)
        http_free(t);
    return 0;
}

int luaopen_host_http(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"read", l_read},   {"status", l_status}, {"headers", l_headers},
        {"close", l_close}, {NULL, NULL},
    };
    static const luaL_Reg funcs[] = {
        {"request", l_request},
        {"stream", l_stream},
        {"connect", l_connect},
        {NULL, NULL},
    };
    luaL_newmetatable(L, STREAM);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
