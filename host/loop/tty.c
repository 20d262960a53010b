/* host.tty. The answer is read key by key: in the terminal's own line mode what is longer
   than 4095 bytes would be cut off without a word. Its keys for erasing, killing and
   ending a line work all the same. Those that stop or quit the process do not, since the
   shell would come back to a terminal that shows nothing. */
#include "loop/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "loop/task.h"
#include "secret/redact.h"
#include "secret/secret.h"
#include "secret/vault.h"

static const char op_name[] = "tty.ask";

enum { ANSWER_MAX = 64 * 1024, CHUNK = 4096 };

/* The terminal while it is changed. One at a time: there is one. */
static struct {
    volatile sig_atomic_t changed;
    int fd;
    struct termios before;
} terminal;

struct question {
    struct op op;
    uv_poll_t poll;
    int fd;
    char *name;
    char *answer; /* ANSWER_MAX bytes in the vault */
    size_t len;
    bool control; /* a key that is no text was pressed */
    bool ended;
    struct err *error;
};

void tty_restore(void)
{
    if (!terminal.changed)
        return;
    /* What was typed or pasted behind the answer must not become a line of the shell. */
    tcflush(terminal.fd, TCIFLUSH);
    tcsetattr(terminal.fd, TCSANOW, &terminal.before);
    terminal.changed = 0;
}

static bool silence(int fd)
{
    if (tcgetattr(fd, &terminal.before) != 0)
        return false;
    struct termios quiet = terminal.before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    quiet.c_lflag |= ISIG;
    quiet.c_iflag |= ICRNL;
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    quiet.c_cc[VSUSP] = quiet.c_cc[VQUIT] = _POSIX_VDISABLE;
    terminal.fd = fd;
    terminal.changed = 1;
    tcflush(fd, TCIFLUSH);
    if (tcsetattr(fd, TCSANOW, &quiet) == 0)
        return true;
    terminal.changed = 0;
    return false;
}

static void on_closed(uv_handle_t *handle)
{
    struct question *q = handle->data;
    close(q->fd);
    op_done(&q->op);
}

static void finish(struct question *q)
{
    tty_restore();
    (void)!write(q->fd, "\n", 1);
    uv_close((uv_handle_t *)&q->poll, on_closed);
}

static void fail(struct question *q, struct err *e)
{
    q->error = e;
    q->ended = true;
}

/* The last character, which may be several bytes. */
static void erase(struct question *q)
{
    while (q->len && ((unsigned char)q->answer[--q->len] & 0xc0) == 0x80)
        ;
}

static void end_line(struct question *q, const char *rest, size_t len)
{
    struct pollfd more = {.fd = q->fd, .events = POLLIN};
    bool follows = false;
    for (size_t i = 0; i < len; i++)
        follows = follows || (rest[i] != '\n' && rest[i] != '\r');
    q->ended = true;
    if (follows || (!len && poll(&more, 1, 0) > 0 && (more.revents & POLLIN)))
        fail(q, err_new("tty.many_lines", op_name, "%s: more than one line was given",
                        q->name));
    else if (q->control)
        fail(q, err_new("tty.control", op_name,
                        "%s: a key without text was pressed, such as an arrow key",
                        q->name));
}

static void take(struct question *q, const char *bytes, size_t len)
{
    const cc_t *keys = terminal.before.c_cc;
    for (size_t i = 0; i < len && !q->ended; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n' || c == '\r')
            end_line(q, bytes + i + 1, len - i - 1);
        else if (c == keys[VERASE] || c == 0x7f || c == '\b')
            erase(q);
        else if (c == keys[VKILL]) {
            q->len = 0;
            q->control = false;
        } else if (c == keys[VEOF] && q->len)
            end_line(q, bytes + i + 1, len - i - 1);
        else if (c == keys[VEOF])
            fail(q, err_new("tty.ended", op_name, "%s: no value was given", q->name));
        else if (c < ' ')
            q->control = true;
        else if (q->len == ANSWER_MAX)
            fail(q, err_new("tty.too_long", op_name, "%s: longer than %d bytes", q->name,
                            ANSWER_MAX));
        else
            q->answer[q->len++] = (char)c;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct question *q = poll->data;
    char chunk[CHUNK];
    ssize_t n = status < 0 ? -1 : read(q->fd, chunk, sizeof chunk);
    if (n > 0) {
        take(q, chunk, (size_t)n);
    } else if (status < 0) {
        fail(q, err_uv(status, op_name, "the terminal"));
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        fail(q, n == 0 ? err_new("tty.ended", op_name, "the terminal was closed")
                       : err_errno(errno, op_name, "the terminal"));
    }
    mem_wipe(chunk, sizeof chunk);
    if (q->ended)
        finish(q);
}

static void question_cancel(struct op *op)
{
    struct question *q = (struct question *)op;
    if (!uv_is_closing((uv_handle_t *)&q->poll))
        finish(q);
}

static int question_push(struct op *op, lua_State *L)
{
    struct question *q = (struct question *)op;
    struct err *e = q->error;
    q->error = NULL;
    if (e)
        return err_return(L, e);
    if (!q->ended)
        return err_return(L, err_cancelled(op_name));
    secret_push(L, secret_new(q->name, q->answer, q->len));
    return 1;
}

static void question_destroy(struct op *op)
{
    struct question *q = (struct question *)op;
    vault_free(q->answer, ANSWER_MAX);
    err_free(q->error);
    mem_free(q->name);
    mem_free(q);
}

static int open_terminal(void)
{
    /* A description of its own: those who share standard input keep it blocking. */
    int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0 || !isatty(STDIN_FILENO))
        return fd;
    char path[64];
    if (ttyname_r(STDIN_FILENO, path, sizeof path) != 0)
        return -1;
    return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
}

static void put(int fd, const char *text, size_t len)
{
    struct buf shown;
    buf_init(&shown);
    secret_redact(text, len, &shown);
    (void)!write(fd, buf_text(&shown), shown.len);
    buf_fini(&shown);
}

/* ask(name, text) → sealed | nil, err. `text` is shown, what is typed is not. */
static int l_ask(lua_State *L)
{
    op_check(L);
    const char *name = lua_type(L, 1) == LUA_TSTRING ? lua_tostring(L, 1) : NULL;
    const char *text = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
    if (!name || !*name || !text)
        return err_argument(L, op_name, "needs a name and a prompt");
    if (terminal.changed)
        return err_argument(L, op_name,
                            "another prompt is already waiting at the terminal");
    if (op_cancelled(L))
        return err_return(L, err_cancelled(op_name));
    int fd = open_terminal();
    if (fd < 0)
        return err_return(L, err_new("tty.none", op_name, "no terminal is available"));
    if (!silence(fd)) {
        struct err *e = err_errno(errno, op_name, "the terminal");
        close(fd);
        return err_return(L, e);
    }
    struct question *q = mem_alloc(sizeof *q);
    int status = uv_poll_init(task_loop(L), &q->poll, fd);
    if (status < 0) {
        tty_restore();
        close(fd);
        mem_free(q);
        return err_return(L, err_uv(status, op_name, "the terminal"));
    }
    q->op.cancel = question_cancel;
    q->op.push = question_push;
    q->op.destroy = question_destroy;
    q->poll.data = q;
    q->fd = fd;
    q->name = mem_string(name);
    q->answer = vault_alloc(ANSWER_MAX);
    put(fd, text, lua_objlen(L, 2));
    uv_poll_start(&q->poll, UV_READABLE, on_poll);
    return op_wait(L, &q->op);
}

/* is_terminal() → boolean: standard input is one */
static int l_is_terminal(lua_State *L)
{
    lua_pushboolean(L, isatty(STDIN_FILENO));
    return 1;
}

int luaopen_host_tty(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"ask", l_ask},
        {"is_terminal", l_is_terminal},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
