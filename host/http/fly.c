/* Fly on the wire: one session's token, addresses, cookies and pace. What the answers
   mean is stdlib/dgrun/fly. Rules: docs/fly/machines-api.md, sections 1 to 3. */
#include <lauxlib.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json_text.h"
#include "base/json_walk.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "http/fly_token.h"
#include "http/graphql.h"
#include "http/http.h"
#include "loop/task.h"
#include "secret/gate.h"

#define SESSION "dgrun.fly.session"

enum {
    DEFAULT_TIMEOUT = 75, /* a wait of the Machines API takes up to 60 */
    CONNECT_TIMEOUT = 10,
    ANSWER_LIMIT = 32 * 1024 * 1024,
};

struct session {
    struct fly_token *token;
    char *machines_url, *api_url, *uiex_url, *user_agent;
    CURLSH *cookies;
};

static struct session *check_session(lua_State *L)
{
    return luaL_checkudata(L, 1, SESSION);
}

static char *base_url(lua_State *L, const char *name, const char *fallback)
{
    const char *url = opt_string(L, 1, name, fallback);
    size_t len = strlen(url);
    while (len && url[len - 1] == '/')
        len--;
    return mem_copy(url, len);
}

/* Of the Machines API's address only scheme, host and port count, as with flyctl. */
static void drop_path(char *url)
{
    char *host = strstr(url, "://");
    if (host)
        host[3 + strcspn(host + 3, "/?#")] = '\0';
}

/* session{token=, machines_url=, api_url=, uiex_url=, user_agent=} → session */
static int l_session(lua_State *L)
{
    static const struct opt options[] = {
        {"token", OPT_VALUE, false},       {"machines_url", OPT_STRING, false},
        {"api_url", OPT_STRING, false},    {"uiex_url", OPT_STRING, false},
        {"user_agent", OPT_STRING, false}, {NULL, 0, false},
    };
    opt_check(L, 1, "fly.session", options);
    struct session *s = lua_newuserdata(L, sizeof *s);
    memset(s, 0, sizeof *s);
    luaL_getmetatable(L, SESSION);
    lua_setmetatable(L, -2);
    s->machines_url = base_url(L, "machines_url", "https://api.machines.dev");
    drop_path(s->machines_url);
    s->api_url = base_url(L, "api_url", "https://api.fly.io");
    s->uiex_url = base_url(L, "uiex_url", "https://api.fly.io");
    s->user_agent = mem_string(opt_string(L, 1, "user_agent", "dgrun/" DGRUN_VERSION));
    if (opt_push(L, 1, "token")) {
        size_t len = 0;
        const char *text = secret_bytes(L, -1, &len);
        s->token = fly_token_new(text, len);
        lua_pop(L, 1);
    }
    http_of(L);
    s->cookies = curl_share_init();
    if (!s->cookies)
        return luaL_error(L, "libcurl returned no share handle");
    curl_share_setopt(s->cookies, CURLSHOPT_SHARE, CURL_LOCK_DATA_COOKIE);
    return 1;
}

static int l_gc(lua_State *L)
{
    struct session *s = check_session(L);
    fly_token_free(s->token);
    mem_free(s->machines_url);
    mem_free(s->api_url);
    mem_free(s->uiex_url);
    mem_free(s->user_agent);
    if (s->cookies)
        curl_share_cleanup(s->cookies);
    memset(s, 0, sizeof *s);
    return 0;
}

/* {status, text, headers, request_id} */
static int push_answer(struct transfer *t, lua_State *L)
{
    struct err *e = http_error(t);
    if (e)
        return err_return(L, e);
    lua_createtable(L, 0, 4);
    lua_pushinteger(L, http_status(t));
    lua_setfield(L, -2, "status");
    http_take_body(t, L);
    lua_setfield(L, -2, "text");
    http_push_headers(t, L);
    lua_getfield(L, -1, "fly-request-id");
    lua_setfield(L, -3, "request_id");
    lua_setfield(L, -2, "headers");
    return 1;
}

static void add_authorization(const struct session *s, struct curl_slist **list,
                              enum fly_api api)
{
    if (!s->token)
        return;
    struct buf value;
    buf_init(&value);
    fly_token_authorization(s->token, api, &value);
    if (value.len)
        http_add_header(list, "Authorization", buf_text(&value), value.len);
    buf_fini_wiped(&value);
}

static int perform(lua_State *L, const struct session *s, struct http_spec *spec,
                   enum fly_api api, const char *nonce)
{
    add_authorization(s, &spec->headers, api);
    if (spec->body || spec->sealed_body)
        http_add_header(&spec->headers, "Content-Type", "application/json", 16);
    if (nonce && !http_add_header(&spec->headers, "fly-machine-lease-nonce", nonce,
                                  strlen(nonce))) {
        http_free_headers(spec->headers);
        return err_argument(L, spec->op,
                            "the lease's nonce must be a single line of text");
    }
    spec->user_agent = s->user_agent;
    spec->share = s->cookies;
    spec->connect_timeout = CONNECT_TIMEOUT;
    spec->limit = ANSWER_LIMIT;
    struct err *error = NULL;
    struct transfer *t = http_start(http_of(L), spec, &error);
    if (!t)
        return err_return(L, error);
    return http_wait(L, t, HTTP_END, push_answer);
}

static void read_body(lua_State *L, int index, const char *name, struct http_spec *spec)
{
    if (!opt_push(L, index, name))
        return;
    spec->sealed_body = secret_test(L, -1);
    if (!spec->sealed_body)
        spec->body = lua_tolstring(L, -1, &spec->body_len);
    lua_pop(L, 1);
}

/* session:request{api=, method=, path=, body=, nonce=, timeout=}
   → {status, text, headers, request_id} | nil, err. `path` holds the query, already
   encoded. */
static int l_request(lua_State *L)
{
    static const struct opt options[] = {
        {"api", OPT_STRING, true},
        {"method", OPT_STRING, true},
        {"path", OPT_STRING, true},
        {"body", OPT_VALUE, false},
        {"nonce", OPT_STRING, false},
        {"timeout", OPT_SECONDS, false},
        {NULL, 0, false},
    };
    op_check(L);
    const struct session *s = check_session(L);
    opt_check(L, 2, "fly.request", options);
    const char *name = opt_string(L, 2, "api", NULL);
    enum fly_api api = FLY_MACHINES;
    const char *base = s->machines_url;
    if (strcmp(name, "uiex") == 0) {
        api = FLY_UIEX;
        base = s->uiex_url;
    } else if (strcmp(name, "api") == 0) {
        base = s->api_url;
    } else if (strcmp(name, "machines") != 0) {
        return err_argument(L, "fly.request",
                            "the base must be machines, api, or uiex, not '%s'", name);
    }
    const char *path = opt_string(L, 2, "path", NULL);
    if (path[0] != '/')
        return err_argument(L, "fly.request", "the path '%s' does not begin with /",
                            path);
    struct http_spec spec = {
        .op = "fly.request",
        .method = opt_string(L, 2, "method", NULL),
        .timeout = opt_seconds(L, 2, "timeout", DEFAULT_TIMEOUT),
    };
    read_body(L, 2, "body", &spec);
    spec.url = lua_pushfstring(L, "%s%s", base, path);
    return perform(L, s, &spec, api, opt_string(L, 2, "nonce", NULL));
}

/* session:graphql{document=, variables=} → as request. The document decides whether it
   may pass in a plan, so the body is made of the very document. `variables` is JSON. */
static int l_graphql(lua_State *L)
{
    static const struct opt options[] = {
        {"document", OPT_STRING, true},
        {"variables", OPT_STRING, true},
        {"timeout", OPT_SECONDS, false},
        {NULL, 0, false},
    };
    op_check(L);
    const struct session *s = check_session(L);
    opt_check(L, 2, "fly.graphql", options);
    const char *document = opt_string(L, 2, "document", NULL);
    const char *variables = opt_string(L, 2, "variables", NULL);
    size_t at;
    const char *mistake = json_check(variables, strlen(variables), &at);
    if (mistake)
        return err_argument(L, "fly.graphql", "option 'variables' must be JSON: %s",
                            mistake);
    struct http_spec spec = {
        .op = "fly.graphql",
        .method = "POST",
        .timeout = opt_seconds(L, 2, "timeout", DEFAULT_TIMEOUT),
        .read_only = graphql_is_query(document),
    };
    struct buf body;
    buf_init(&body);
    buf_add_text(&body, "{\"query\":");
    json_add_string(&body, document, strlen(document));
    buf_add_format(&body, ",\"variables\":%s}", variables);
    lua_pushlstring(L, buf_text(&body), body.len);
    buf_fini(&body);
    spec.body = lua_tolstring(L, -1, &spec.body_len);
    spec.url = lua_pushfstring(L, "%s/graphql", s->api_url);
    return perform(L, s, &spec, FLY_GRAPHQL, NULL);
}

int luaopen_host_fly(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"request", l_request},
        {"graphql", l_graphql},
        {NULL, NULL},
    };
    static const luaL_Reg funcs[] = {
        {"session", l_session},
        {NULL, NULL},
    };
    luaL_newmetatable(L, SESSION);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_gc);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
