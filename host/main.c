/* Arguments in, exit status out. What the words mean is stdlib/dgrun/cli. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/mem.h"
#include "loop/task.h"
#include "loop/tty.h"
#include "proc/machine_process.h"
#include "proc/proc.h"
#include "secret/log.h"
#include "secret/vault.h"
#include "vm.h"

#ifdef __SANITIZE_ADDRESS__
/* pg_query_raw_parse of libpg_query 15 never frees its copy of an empty message for some
   texts that it rejects. All that dgrun itself takes from the library stays checked. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:pg_query_raw_parse\n"; }
#endif

enum { EXIT_CANCELLED = 128, EXIT_LEAK = 70 };

/* Signals are caught here, not by the loop: the second one ends a script that computes
   for ever, too. */
static struct {
    struct sched *volatile sched; /* NULL when there is nothing to cancel any more */
    pthread_t thread;
    volatile sig_atomic_t seen;
} watch;

/* The first signal asks, the second ends, with no child left behind. Nothing that was
   written waits in a buffer meanwhile. */
static void on_signal(int signal)
{
    int error = errno;
    if (!pthread_equal(pthread_self(), watch.thread)) {
        pthread_kill(watch.thread, signal); /* the children's list is that thread's */
    } else if (watch.seen) {
        tty_restore();
        proc_kill_all();
        _exit(EXIT_CANCELLED + signal);
    } else {
        watch.seen = signal;
        if (watch.sched)
            task_interrupt(watch.sched, signal);
    }
    errno = error;
}

static void watch_signals(lua_State *L)
{
    watch.sched = task_sched(L);
    watch.thread = pthread_self();
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
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

/* A handle that nobody closed is a bug of the host: builds for development fail by it,
   so that each test is one of this too. */
static bool leaked(unsigned handles)
{
#ifdef NDEBUG
    (void)handles;
    return false;
#else
    if (!handles)
        return false;
    char *text = mem_format("dgrun: %u open handle(s) at exit; "
                            "DGRUN_DEBUG=1 names them\n",
                            handles);
    log_write(LOG_ERR, text, strlen(text));
    mem_free(text);
    return true;
#endif
}

int main(int argc, char **argv)
{
    open_missing_streams();
    if (argc > 1 && strcmp(argv[1], MACHINE_PROCESS_WORD) == 0)
        return machine_process_main(argc - 2, argv + 2);
    vault_close_process();
    signal(SIGPIPE, SIG_IGN);
    argv = uv_setup_args(argc, argv);
    lua_State *L = vm_open(argv[0]);
    watch_signals(L);

    int status = EXIT_FAILURE;
    lua_pushcfunction(L, l_load_main);
    if (lua_pcall(L, 0, 1, 0) != 0) {
        report(L);
    } else {
        push_arguments(L, argc, argv);
        if (task_run(L, 1))
            status = (int)lua_tointeger(L, -1);
        else if (watch.seen)
            status = EXIT_CANCELLED + watch.seen;
        else
            report(L);
    }
    watch.sched = NULL;
    struct task_left left = vm_close(L);
    if (leaked(left.handles))
        status = EXIT_LEAK;
    log_close();
    if (left.work)
        _exit(status); /* libuv joins its threads at exit */
    return status;
}
