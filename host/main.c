/* Arguments in, exit status out. What the words mean is stdlib/dgrun/cli. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "err.h"
#include "log.h"
#include "task.h"
#include "vm.h"

enum { EXIT_CANCELLED = 128 };

struct watch {
    uv_signal_t handle;
    lua_State *L;
    int *seen;
};

/* The first signal asks, the second ends. */
static void on_signal(uv_signal_t *handle, int signal)
{
    struct watch *w = handle->data;
    if (*w->seen) {
        log_flush();
        _exit(EXIT_CANCELLED + signal);
    }
    *w->seen = signal;
    task_interrupt(w->L, signal);
}

static void watch_open(struct watch *w, lua_State *L, int *seen, int signal)
{
    w->L = L;
    w->seen = seen;
    w->handle.data = w;
    uv_signal_init(task_loop(L), &w->handle);
    uv_signal_start(&w->handle, on_signal, signal);
    uv_unref((uv_handle_t *)&w->handle);
}

static void watch_close(void *data)
{
    struct watch *w = data;
    uv_close((uv_handle_t *)&w->handle, NULL);
}

/* → require("dgrun.cli").main. The task runs the Lua function itself: it could not wait
   below a C function. */
static int l_load_main(lua_State *L)
{
    lua_getglobal(L, "require");
    lua_pushliteral(L, "dgrun.cli");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "main");
    return 1;
}

static void report(lua_State *L)
{
    static const char *const parts[] = {"msg", "trace"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (lua_istable(L, -1))
            lua_getfield(L, -1, parts[i]);
        else
            lua_pushvalue(L, -1);
        size_t len = 0;
        const char *text = lua_tolstring(L, -1, &len);
        if (text) {
            log_write(LOG_ERR, i ? "" : "dgrun: ", i ? 0 : strlen("dgrun: "));
            log_write(LOG_ERR, text, len);
            log_write(LOG_ERR, "\n", 1);
        }
        lua_pop(L, 1);
        if (!lua_istable(L, -1))
            return;
    }
}

static void push_arguments(lua_State *L, int argc, char **argv)
{
    lua_createtable(L, argc, 0);
    for (int i = 1; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
}

/* Started without one of the three standard streams, the next file opened would take its
   place, be written to as output, and libuv would abort on closing it. */
static void open_missing_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
            (void)!open("/dev/null", O_RDWR); /* takes the lowest free number: fd */
}

int main(int argc, char **argv)
{
    open_missing_streams();
    signal(SIGPIPE, SIG_IGN);
    argv = uv_setup_args(argc, argv);
    lua_State *L = vm_open(argv[0]);
    int seen = 0;
    struct watch watches[2] = {0};
    watch_open(&watches[0], L, &seen, SIGINT);
    watch_open(&watches[1], L, &seen, SIGTERM);
    task_at_exit(L, watch_close, &watches[0]);
    task_at_exit(L, watch_close, &watches[1]);

    int status = EXIT_FAILURE;
    lua_pushcfunction(L, l_load_main);
    if (lua_pcall(L, 0, 1, 0) != 0) {
        report(L);
    } else {
        push_arguments(L, argc, argv);
        if (task_run(L, 1))
            status = (int)lua_tointeger(L, -1);
        else if (seen)
            status = EXIT_CANCELLED + seen;
        else
            report(L);
    }
    vm_close(L);
    log_flush();
    return status;
}
