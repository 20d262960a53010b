/* A detached child outlives this process: a session of its own, no descriptor of ours, a
   file as its output. libuv starts no such child, because uv_spawn leaves open what this
   process was itself started with: a lock, or the pipe of a CI job that would wait for
   its end.

   Between fork and exec only system calls run: other threads may hold any lock. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/opt.h"
#include "proc/proc_own.h"
#include "secret/log.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

static const char op_name[] = "proc.detach";
static const char type_name[] = "dgrun.proc.detached";

struct detached {
    pid_t pid;
    int status; /* -1: it runs */
};

/* Linux before 5.11 has no such call for a range. */
static void close_on_exec(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    int count = (int)sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd < count; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Returns only on failure, with errno. */
static void become(const struct proc_setup *s, char **environment, int output)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        (void)sigaction(signal, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (setsid() < 0 || null < 0 || dup2(null, STDIN_FILENO) < 0 ||
        dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0 ||
        (s->cwd && chdir(s->cwd) < 0))
        return;
    close_on_exec(STDERR_FILENO + 1);
    execve(s->argv[0], s->argv, environment);
}

/* → the pid, or -1 with errno, also that of a failed exec */
static pid_t start(const struct proc_setup *s, char **environment, int output)
{
    int ends[2]; /* closed by exec; otherwise it brings the error */
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* our handlers are not the child's */
    pid_t pid = fork();
    if (pid == 0) {
        become(s, environment, output);
        int error = errno;
        (void)!write(ends[1], &error, sizeof error);
        _exit(127);
    }
    int error = pid < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    while (pid > 0 && read(ends[0], &error, sizeof error) < 0 && errno == EINTR)
        continue;
    close(ends[0]);
    if (pid > 0 && error) {
        (void)waitpid(pid, NULL, 0);
        pid = -1;
    }
    errno = error;
    return pid;
}

/* detach{argv=, output=path, cwd=, env=, clean_env=} → detached | nil, err */
int l_proc_detach(lua_State *L)
{
    struct proc_setup *setup = proc_options(L, 1, op_name, PROC_DETACHED);
    struct err *e = proc_refusal(setup);
    const char *path = opt_string(L, 1, "output", NULL);
    int output = -1;
    if (!e) {
        output = open(
            path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (output < 0 || fchmod(output, 0600) < 0)
            e = err_errno(errno, op_name, path);
    }
    if (!e) {
        struct detached *d = lua_newuserdata(L, sizeof *d);
        *d = (struct detached){.pid = -1, .status = -1};
        luaL_getmetatable(L, type_name);
        lua_setmetatable(L, -2);
        char **environment = proc_environment(setup);
        log_flush();
        d->pid = start(setup, environment, output);
        if (d->pid < 0)
            e = proc_start_error(setup, environment, uv_translate_sys_error(errno));
        proc_environment_free(environment);
        log_debug("proc=%d detached program=%s", d->pid, setup->argv[0]);
    }
    if (output >= 0)
        close(output);
    proc_setup_free(setup);
    return e ? err_return(L, e) : 1;
}

static int l_pid(lua_State *L)
{
    struct detached *d = luaL_checkudata(L, 1, type_name);
    lua_pushinteger(L, d->pid);
    return 1;
}

/* status() → nil while it runs, then its exit status, 128 + signal for a signal */
static int l_status(lua_State *L)
{
    struct detached *d = luaL_checkudata(L, 1, type_name);
    int status;
    if (d->status < 0 && waitpid(d->pid, &status, WNOHANG) == d->pid)
        d->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (d->status < 0)
        return 0;
    lua_pushinteger(L, d->status);
    return 1;
}

void proc_detach_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"pid", l_pid}, {"status", l_status}, {NULL, NULL}};
    luaL_newmetatable(L, type_name);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
