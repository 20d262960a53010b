/* A transfer is in the list of its http from http_start to http_free. Callbacks of
   libcurl (http_multi.c makes them happen) store what arrives and call `fire`, which
   wakes the waiter once its event is there. A wait for the end owns the transfer and
   frees it; the transfer of a stream belongs to the stream's box (http_own).

   on_request is called before each time that libcurl sends, and stops two things that
   libcurl would do by itself: taking a secret to another origin after a redirect, and
   sending a write again when a kept connection dies.

   A streamed body pauses when UNREAD_LIMIT bytes are unread, and continues when
   http_take_body has taken them. */
#include "http/http.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "http/http_memory.h"
#include "http/http_multi.h"
#include "loop/task.h"
#include "secret/gate.h"
#include "secret/log.h"

enum {
    HEADERS_LIMIT = 256 * 1024,
    UNREAD_LIMIT = 1024 * 1024, /* more pauses a streamed body */
    REDIRECTS_LIMIT = 5,
};

struct http {
    struct multi *multi;
    struct transfer *transfers; /* all that exist */
};

struct wait {
    struct op op;
    struct transfer *transfer;
    enum http_event event;
    int (*push)(struct transfer *t, lua_State *L);
};

struct transfer {
    struct http *http;
    struct transfer *prev, *next;
    CURL *easy;
    struct curl_slist *headers;
    struct secret *sealed_body;
    char *body_copy;
    char *target;  /* "GET https://host/path", for messages: no query, no user */
    char *origin;  /* of a sealed request: "https://host:443", or NULL */
    char *refused; /* the origin of the redirect that was refused */
    const char *op;
    int body_fd;
    char reason[CURL_ERROR_SIZE];
    struct buf header_block;
    struct buf body;
    size_t received;
    long long limit;
    struct wait *wait;
    struct transfer **slot;
    CURLcode result;
    long redirects;
    bool running, finished, cancelled, streaming, paused, has_headers, too_large;
    bool once;     /* a write: libcurl must not send it twice */
    bool begun;    /* it was sent, or about to be */
    bool repeated; /* libcurl was about to send it again */
};

static const char key = 0;

static void fire(struct transfer *t)
{
    struct wait *w = t->wait;
    if (!w)
        return;
    bool ready = t->finished || (w->event == HTTP_HEADERS && t->has_headers) ||
                 (w->event == HTTP_BYTES && t->body.len > 0);
    if (!ready)
        return;
    t->wait = NULL;
    op_done(&w->op);
}

/* "https://host:443": the scheme, the host and the port that a request goes to. NULL when
   it is no URL. */
static char *origin_of(const char *url)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *origin = NULL;
    if (parsed && url && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        origin = mem_format("%s://%s:%s", scheme, host, port);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parsed);
    return origin;
}

/* A redirect must not take a secret to another origin. libcurl itself drops only
   Authorization and Cookie. */
static bool leaves_origin(struct transfer *t)
{
    if (!t->origin)
        return false;
    char *url = NULL;
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    char *origin = origin_of(url);
    if (origin && strcasecmp(origin, t->origin) == 0) {
        mem_free(origin);
        return false;
    }
    mem_free(t->refused);
    t->refused = origin ? origin : mem_string("another address");
    return true;
}

/* Callbacks of libcurl */

/* Before each time that the request is sent. On a kept connection that dies without an
   answer libcurl sends it again by itself, POST too; what the first one did is unknown.
   https://curl.se/libcurl/c/CURLOPT_PREREQFUNCTION.html */
static int on_request(void *user, char *remote_ip, char *local_ip, int remote_port,
                      int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    struct transfer *t = user;
    if (leaves_origin(t))
        return CURL_PREREQFUNC_ABORT;
    long redirects = 0;
    curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_COUNT, &redirects);
    t->repeated = t->once && t->begun && redirects == t->redirects;
    t->redirects = redirects;
    t->begun = true;
    return t->repeated ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
    struct transfer *t = user;
    size_t len = size * count;
    if (len >= 5 && memcmp(data, "HTTP/", 5) == 0)
        buf_reset(&t->header_block);
    if (t->header_block.len + len > HEADERS_LIMIT) {
        t->too_large = true;
        return 0;
    }
    buf_add(&t->header_block, data, len);
    bool blank = len <= 2 && (len == 0 || data[0] == '\r' || data[0] == '\n');
    /* The final answer's block ends here; those of 1xx and redirects are replaced. */
    if (blank) {
        long status = http_status(t);
        t->has_headers = status >= 200 && !(status >= 300 && status < 400);
        fire(t);
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
    struct transfer *t = user;
    size_t len = size * count;
    t->has_headers = true;
    if (t->streaming && t->body.len > UNREAD_LIMIT) {
        t->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (t->received + len > (unsigned long long)t->limit) {
        t->too_large = true;
        return 0;
    }
    t->received += len;
    buf_add(&t->body, data, len);
    fire(t);
    return len;
}

static size_t on_upload(char *data, size_t size, size_t count, void *user)
{
    const struct transfer *t = user;
    ssize_t got = read(t->body_fd, data, size * count);
    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static void on_done(void *private, CURLcode result)
{
    struct transfer *t = private;
    t->running = false;
    t->finished = true;
    t->result = result;
    log_debug("event=http_done target=\"%s\" result=%d status=%ld", t->target,
              (int)result, http_status(t));
    fire(t);
}

/* Starting */

static char *target_of(const char *method, const char *url)
{
    CURLU *parsed = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL, *target = NULL;
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_PATH, &path, 0) == CURLUE_OK) {
        curl_url_get(parsed, CURLUPART_PORT, &port, 0);
        if (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0)
            target = mem_format("%s %s://%s%s%s%s", method, scheme, host, port ? ":" : "",
                                port ? port : "", path);
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(path);
    curl_url_cleanup(parsed);
    return target;
}

static struct err *open_body(struct transfer *t, const struct http_spec *spec)
{
    if (spec->body_file) {
        struct stat info;
        t->body_fd = open(spec->body_file, O_RDONLY | O_CLOEXEC);
        if (t->body_fd < 0 || fstat(t->body_fd, &info) != 0)
            return err_errno(errno, spec->op, spec->body_file);
        curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)info.st_size);
        return NULL;
    }
    const char *body = spec->body;
    size_t len = spec->body_len;
    if (spec->sealed_body) {
        t->sealed_body = secret_ref(spec->sealed_body);
        body = secret_open(t->sealed_body, &len);
    } else if (body) {
        body = t->body_copy = mem_copy(body, len);
    }
    if (body) {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body);
    }
    return NULL;
}

/* ::1, ::, ::ffff:127.0.0.1: libcurl's list of hosts does not match these by network. */
static bool is_own_v6(const char *url)
{
    CURLU *parsed = curl_url();
    char *host = NULL;
    bool own = false;
    if (parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK && *host == '[') {
        struct in6_addr address;
        host[strcspn(host, "]")] = '\0';
        if (inet_pton(AF_INET6, host + 1, &address) == 1)
            own = IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_UNSPECIFIED(&address) ||
                  (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
    }
    curl_free(host);
    curl_url_cleanup(parsed);
    return own;
}

/* No proxy of the environment is asked for this machine, whose services nobody else can
   reach. The list replaces no_proxy, so it must contain it. It also holds for redirects.
 */
static void bypass_proxies(CURL *easy, const char *url)
{
    static const char loopback[] = "localhost,127.0.0.0/8,0.0.0.0,::1,[::1],::";
    const char *own = getenv("no_proxy");
    if (!own)
        own = getenv("NO_PROXY");
    if (is_own_v6(url))
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    /* "*" means every host only when it stands alone. */
    if (own && strcmp(own, "*") == 0)
        return;
    char *hosts = mem_format("%s%s%s", own ? own : "", own && *own ? "," : "", loopback);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, hosts);
    mem_free(hosts);
}

static void configure(struct transfer *t, const struct http_spec *spec)
{
    CURL *easy = t->easy;
    curl_easy_setopt(easy, CURLOPT_URL, spec->url);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, spec->method);
    if (strcmp(spec->method, "HEAD") == 0)
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* Nobody waits for a lookup that hangs: its thread is left to itself. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->reason);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION,
                     spec->follow && (!spec->sealed || t->origin) ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)REDIRECTS_LIMIT);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT,
                     spec->user_agent ? spec->user_agent : "dgrun/" DGRUN_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(spec->connect_timeout * 1000));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(spec->timeout * 1000));
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    bypass_proxies(easy, spec->url);
    if (spec->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, spec->ca_file);
    if (spec->connect_only) {
        curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
        curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* a proxy would answer for the peer */
    }
    if (spec->share) {
        curl_easy_setopt(easy, CURLOPT_SHARE, spec->share);
        curl_easy_setopt(easy, CURLOPT_COOKIEFILE, "");
    }
}

/* Headers with which a server takes a GET for another method. */
static bool overrides_method(const struct curl_slist *headers)
{
    static const char *const names[] = {
        "X-HTTP-Method-Override:", "X-HTTP-Method:", "X-Method-Override:"};
    for (; headers; headers = headers->next)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strncasecmp(headers->data, names[i], strlen(names[i])) == 0)
                return true;
    return false;
}

static bool writes(const struct http_spec *spec)
{
    bool reads = strcmp(spec->method, "GET") == 0 || strcmp(spec->method, "HEAD") == 0;
    bool sends = spec->body || spec->sealed_body || spec->body_file;
    return !spec->read_only && (!reads || sends || overrides_method(spec->headers));
}

struct transfer *http_start(struct http *h, const struct http_spec *spec,
                            struct err **error)
{
    struct transfer *t = mem_alloc(sizeof *t);
    t->http = h;
    t->op = spec->op;
    t->headers = spec->headers;
    t->body_fd = -1;
    t->limit = spec->limit;
    t->streaming = spec->streaming;
    t->once = writes(spec);
    t->next = h->transfers;
    if (t->next)
        t->next->prev = t;
    h->transfers = t;

    *error = NULL;
    t->target = target_of(spec->method, spec->url);
    if (!t->target)
        *error = err_new("http.invalid_url", spec->op, "not an http or https URL");
    else if (writes(spec) && gate_closed())
        *error = gate_refusal(spec->op, t->target);
    else if (!(t->easy = curl_easy_init()))
        *error = err_new("http.failed", spec->op, "libcurl returned no handle");
    else
        *error = open_body(t, spec);
    if (*error)
        goto fail;
    if (spec->sealed)
        t->origin = origin_of(spec->url);
    configure(t, spec);
    if (!multi_add(h->multi, t->easy)) {
        *error = err_new("http.failed", spec->op, "%s: libcurl rejected the request",
                         t->target);
        goto fail;
    }
    t->running = true;
    log_debug("event=http_start target=\"%s\"", t->target);
    return t;
fail:
    http_free(t);
    return NULL;
}

void http_own(struct transfer *t, struct transfer **slot)
{
    *slot = t;
    t->slot = slot;
}

void http_free(struct transfer *t)
{
    if (t->slot)
        *t->slot = NULL;
    if (t->running)
        multi_remove(t->http->multi, t->easy);
    curl_easy_cleanup(t->easy);
    http_free_headers(t->headers);
    secret_unref(t->sealed_body);
    mem_free(t->body_copy);
    mem_free(t->target);
    mem_free(t->origin);
    mem_free(t->refused);
    buf_fini(&t->header_block);
    buf_fini(&t->body);
    if (t->body_fd >= 0)
        close(t->body_fd);
    if (t->prev)
        t->prev->next = t->next;
    else
        t->http->transfers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    mem_free(t);
}

/* Waiting */

static void wait_cancel(struct op *op)
{
    struct transfer *t = ((struct wait *)op)->transfer;
    t->wait = NULL;
    t->cancelled = true;
    if (t->running) {
        multi_remove(t->http->multi, t->easy);
        t->running = false;
    }
    t->finished = true;
    op_done(op);
}

static int wait_push(struct op *op, lua_State *L)
{
    struct wait *w = (struct wait *)op;
    return w->push(w->transfer, L);
}

static void wait_destroy(struct op *op)
{
    struct wait *w = (struct wait *)op;
    if (w->event == HTTP_END)
        http_free(w->transfer);
    mem_free(w);
}

int http_wait(lua_State *L, struct transfer *t, enum http_event event,
              int (*push)(struct transfer *t, lua_State *L))
{
    struct wait *w = mem_alloc(sizeof *w);
    w->op = (struct op){.source = OP_TRANSFER,
                        .cancel = wait_cancel,
                        .push = wait_push,
                        .destroy = wait_destroy};
    w->transfer = t;
    w->event = event;
    w->push = push;
    t->wait = w;
    fire(t);
    return op_wait(L, &w->op);
}

/* Results */

static const char *code_of(const struct transfer *t)
{
    if (t->too_large)
        return "http.too_large";
    if (t->repeated)
        return "http.reset";
    switch (t->result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return "http.resolve";
    case CURLE_COULDNT_CONNECT:
        return "http.connect";
    case CURLE_OPERATION_TIMEDOUT:
        return "http.timeout";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return "http.tls";
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_HTTP2_STREAM:
    case CURLE_HTTP2:
        return "http.reset";
    default:
        return "http.failed";
    }
}

struct err *http_error(const struct transfer *t)
{
    if (t->cancelled)
        return err_cancelled(t->op);
    if (!t->finished || (t->result == CURLE_OK && !t->too_large))
        return NULL;
    /* What curl says when the socket reports an error; it means nothing to people. */
    static const char poll_error[] = "select/poll returned error";
    const char *reason = curl_easy_strerror(t->result);
    if (t->too_large)
        reason = "the response is larger than allowed";
    else if (t->repeated || t->result == CURLE_GOT_NOTHING)
        reason = "the connection was closed before a response arrived";
    else if (strcmp(t->reason, poll_error) == 0)
        reason = "the connection was reset";
    else if (t->reason[0])
        reason = t->reason;
    if (t->refused) {
        struct err *e = err_new("http.redirect", t->op,
                                "%s: the server redirects to %s; the request contains a "
                                "secret, so it was not sent there",
                                t->target, t->refused);
        err_field(e, "sent", "maybe");
        err_field(e, "location", t->refused);
        err_hint(e,
                 "If %s is the right URL, request it directly. Without 'follow', the "
                 "redirect itself is returned.",
                 t->refused);
        return e;
    }
    struct err *e = err_new(code_of(t), t->op, "%s: %s", t->target, reason);
    if (t->too_large)
        err_field_int(e, "limit", t->limit);
    /* A request that was never sent can be repeated without a second thought. */
    err_field(e, "sent", t->begun ? "maybe" : "no");
    err_field(e, "reason", reason);
    return e;
}

long http_status(const struct transfer *t)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static void add_header(lua_State *L, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return;
    luaL_Buffer name;
    luaL_buffinit(L, &name);
    for (const char *c = line; c < colon; c++)
        luaL_addchar(&name, (char)tolower((unsigned char)*c));
    luaL_pushresult(&name);
    const char *value = colon + 1;
    const char *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && strchr(" \t\r\n", end[-1]))
        end--;
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushlstring(L, value, (size_t)(end - value));
    } else {
        lua_pushliteral(L, ", ");
        lua_pushlstring(L, value, (size_t)(end - value));
        lua_concat(L, 3);
    }
    lua_rawset(L, -3);
}

void http_push_headers(const struct transfer *t, lua_State *L)
{
    lua_newtable(L);
    const char *at = buf_text(&t->header_block);
    const char *end = at + t->header_block.len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *next = newline ? newline + 1 : end;
        add_header(L, at, (size_t)(next - at));
        at = next;
    }
}

void http_take_body(struct transfer *t, lua_State *L)
{
    lua_pushlstring(L, buf_text(&t->body), t->body.len);
    buf_reset(&t->body);
    if (t->paused && t->running) {
        t->paused = false;
        curl_easy_pause(t->easy, CURLPAUSE_CONT);
    }
}

size_t http_unread(const struct transfer *t) { return t->body.len; }

void http_push_answer(struct transfer *t, lua_State *L)
{
    static const char *const versions[] = {"", "1.0", "1.1", "2", "3"};
    char *url = NULL;
    long version = 0;
    double seconds = 0;
    curl_easy_getinfo(t->easy, CURLINFO_EFFECTIVE_URL, &url);
    curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
    curl_easy_getinfo(t->easy, CURLINFO_TOTAL_TIME, &seconds);
    lua_createtable(L, 0, 6);
    lua_pushinteger(L, http_status(t));
    lua_setfield(L, -2, "status");
    http_push_headers(t, L);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, buf_text(&t->body), t->body.len);
    lua_setfield(L, -2, "body");
    lua_pushstring(L, url ? url : "");
    lua_setfield(L, -2, "url");
    lua_pushnumber(L, seconds);
    lua_setfield(L, -2, "seconds");
    lua_pushstring(L, version >= 1 && version <= 3 ? versions[version] : "3");
    lua_setfield(L, -2, "version");
}

void http_push_connection(const struct transfer *t, lua_State *L)
{
    char *address = NULL;
    double seconds = 0;
    curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &address);
    curl_easy_getinfo(t->easy, CURLINFO_CONNECT_TIME, &seconds);
    lua_createtable(L, 0, 2);
    lua_pushstring(L, address ? address : "");
    lua_setfield(L, -2, "address");
    lua_pushnumber(L, seconds);
    lua_setfield(L, -2, "seconds");
}

/* Headers */

static bool is_token(const char *name)
{
    if (!*name)
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && !strchr("!#$%&'*+-.^_`|~", *name))
            return false;
    return true;
}

bool http_add_header(struct curl_slist **list, const char *name, const char *value,
                     size_t len)
{
    if (!is_token(name) || memchr(value, '\r', len) || memchr(value, '\n', len) ||
        memchr(value, '\0', len))
        return false;
    struct buf line;
    buf_init(&line);
    buf_add_text(&line, name);
    /* A header without value is written with a semicolon: CURLOPT_HTTPHEADER(3). */
    buf_add_text(&line, len ? ": " : ";");
    buf_add(&line, value, len);
    struct curl_slist *longer = curl_slist_append(*list, buf_text(&line));
    buf_fini_wiped(&line);
    if (!longer)
        return false;
    *list = longer;
    return true;
}

void http_free_headers(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next)
        mem_wipe(item->data, strlen(item->data));
    curl_slist_free_all(list);
}

/* The state's one http */

static void on_exit_hook(void *data)
{
    struct http *h = data;
    while (h->transfers)
        http_free(h->transfers);
    multi_close(h->multi);
    h->multi = NULL;
}

struct http *http_of(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)&key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    struct http *h = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (h)
        return h;
    if (http_memory_init() != CURLE_OK)
        luaL_error(L, "cannot initialize libcurl");
    h = lua_newuserdata(L, sizeof *h);
    memset(h, 0, sizeof *h);
    h->multi = multi_open(task_loop(L), on_done);
    if (!h->multi)
        luaL_error(L, "libcurl returned no multi handle");
    lua_pushlightuserdata(L, (void *)&key);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
    task_at_exit(L, on_exit_hook, h);
    return h;
}
