/* Two streams, each with its own redactor, since a secret may come in pieces. log_write
   passes the bytes through the redactor and writes what comes out before it returns, so
   the lines of both streams keep their order and a process that is killed loses nothing
   but what the redactor still holds back.

   A descriptor that does not block, because another process made it so, is waited for
   with poll. After any other failure, a reader that is gone for example, the stream is
   broken and drops what follows; main.c ignores SIGPIPE. */
#include "secret/log.h"

#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "secret/log_clean.h"
#include "secret/redact.h"

enum { DRAIN_AT = 64 * 1024 };

/* The two streams live as long as the process: anything written at any time passes here.
 */
struct stream {
    int fd;
    bool broken; /* the reader is gone: what follows is dropped */
    struct redactor *redactor;
    struct buf out;
};
static struct stream streams[] = {{.fd = STDOUT_FILENO}, {.fd = STDERR_FILENO}};

static struct stream *stream_of(enum log_stream which)
{
    return &streams[which - LOG_OUT];
}

static void write_all(struct stream *s, const char *bytes, size_t len)
{
    while (len && !s->broken) {
        ssize_t n = write(s->fd, bytes, len);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = s->fd, .events = POLLOUT};
            (void)poll(&p, 1, -1);
        } else if (errno != EINTR) {
            s->broken = true;
        }
    }
}

static void drain(struct stream *s)
{
    write_all(s, s->out.data, s->out.len);
    buf_reset(&s->out);
}

static void on_redacted(void *data, const char *bytes, size_t len)
{
    struct stream *s = data;
    buf_add(&s->out, bytes, len);
    if (s->out.len >= DRAIN_AT)
        drain(s);
}

/* Only at the very end nothing can follow that would complete a secret. */
void log_close(void)
{
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        if (!streams[i].redactor)
            continue;
        redactor_flush(streams[i].redactor);
        drain(&streams[i]);
        redactor_free(streams[i].redactor);
        buf_fini(&streams[i].out);
        streams[i].redactor = NULL;
    }
}

static struct redactor *redactor_of(struct stream *s)
{
    static bool registered;
    if (!registered)
        registered = atexit(log_close) == 0;
    if (!s->redactor)
        s->redactor = redactor_new(on_redacted, s);
    return s->redactor;
}

void log_write(enum log_stream stream, const char *bytes, size_t len)
{
    struct stream *s = stream_of(stream);
    redactor_feed(redactor_of(s), bytes, len);
    drain(s);
}

void log_flush(void)
{
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        drain(&streams[i]);
}

bool log_broken(enum log_stream stream) { return stream_of(stream)->broken; }

static bool debugging(void)
{
    static int answer = -1;
    if (answer < 0) {
        const char *value = getenv("DGRUN_DEBUG");
        answer = value && *value && strcmp(value, "0") != 0;
    }
    return answer;
}

static void write_line(const char *text)
{
    char *line = mem_format("debug: %s\n", text);
    log_write(LOG_ERR, line, strlen(line));
    mem_free(line);
}

void log_debug(const char *format, ...)
{
    if (!debugging())
        return;
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    if (text)
        write_line(text);
    mem_free(text);
}

static const char *check_text(lua_State *L, const char *op, size_t *len)
{
    if (!lua_isstring(L, 1))
        err_argument(L, op, "needs a string, not %s", luaL_typename(L, 1));
    return lua_tolstring(L, 1, len);
}

static int l_out(lua_State *L)
{
    size_t len;
    const char *text = check_text(L, "log.out", &len);
    log_write(LOG_OUT, text, len);
    return 0;
}

static int l_err(lua_State *L)
{
    size_t len;
    const char *text = check_text(L, "log.err", &len);
    log_write(LOG_ERR, text, len);
    return 0;
}

static int l_debug(lua_State *L)
{
    const char *text = check_text(L, "log.debug", NULL);
    if (debugging())
        write_line(text);
    return 0;
}

static int l_flush(lua_State *L)
{
    (void)L;
    log_flush();
    return 0;
}

/* clean(text) → text without control sequences, for what comes from elsewhere. Masked
   before: a secret that lost characters here, or is cut afterwards, is not known again.
 */
static int l_clean(lua_State *L)
{
    size_t len;
    const char *text = check_text(L, "log.clean", &len);
    struct buf masked, out;
    buf_init(&masked);
    buf_init(&out);
    secret_redact(text, len, &masked);
    log_clean(buf_text(&masked), masked.len, &out);
    lua_pushlstring(L, buf_text(&out), out.len);
    buf_fini(&masked);
    buf_fini(&out);
    return 1;
}

static struct stream *check_stream(lua_State *L, const char *op)
{
    const char *which = check_text(L, op, NULL);
    bool out = strcmp(which, "out") == 0;
    if (!out && strcmp(which, "err") != 0)
        err_argument(L, op, "takes \"out\" or \"err\"");
    return stream_of(out ? LOG_OUT : LOG_ERR);
}

/* is_terminal("out"|"err") → boolean */
static int l_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(check_stream(L, "log.is_terminal")->fd));
    return 1;
}

/* is_open("out"|"err") → boolean: false once whoever read a pipe or terminal is gone */
static int l_is_open(lua_State *L)
{
    struct stream *s = check_stream(L, "log.is_open");
    struct pollfd p = {.fd = s->fd};
    if (poll(&p, 1, 0) > 0 && p.revents & (POLLERR | POLLHUP | POLLNVAL))
        s->broken = true;
    lua_pushboolean(L, !s->broken);
    return 1;
}

/* columns() → width of the terminal, 80 where there is none */
static int l_columns(lua_State *L)
{
    struct winsize size;
    for (int fd = STDERR_FILENO; fd >= STDOUT_FILENO; fd--) {
        if (ioctl(fd, TIOCGWINSZ, &size) != 0 || !size.ws_col)
            continue;
        lua_pushinteger(L, size.ws_col);
        return 1;
    }
    const char *text = getenv("COLUMNS");
    long columns = text ? strtol(text, NULL, 10) : 0;
    lua_pushinteger(L, columns > 0 && columns < 10000 ? columns : 80);
    return 1;
}

int luaopen_host_log(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"out", l_out},         {"err", l_err},         {"debug", l_debug},
        {"flush", l_flush},     {"clean", l_clean},     {"is_terminal", l_is_terminal},
        {"columns", l_columns}, {"is_open", l_is_open}, {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
