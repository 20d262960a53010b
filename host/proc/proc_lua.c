/* host.proc: a whole run, whose output is collected until the child ends, what this
   process is to others, and the list of functions. */
#include <errno.h>
#include <lauxlib.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "loop/task.h"
#include "proc/proc.h"

/* How much of the child's last words an error carries. */
#define TAIL 2000

struct run {
    struct op op;
    struct proc *proc; /* NULL before the start and after the end */
    size_t limit;
    struct proc_result result;
    struct err *error;
    proc_push push;
    void *data;
    void (*free_data)(void *data);
};

static void on_data(void *owner, enum proc_stream stream, const char *bytes, size_t len)
{
    struct run *r = owner;
    struct buf *b = stream == PROC_STDOUT ? &r->result.out : &r->result.err;
    size_t room = r->limit - b->len;
    buf_add(b, bytes, len < room ? len : room);
    if (len > room) {
        proc_stop(r->proc, PROC_LIMIT);
        proc_forget_output(r->proc);
    }
}

static void on_ended(void *owner, enum proc_stream stream)
{
    (void)owner;
    (void)stream;
}

static void on_closed(void *owner)
{
    struct run *r = owner;
    r->result.status = proc_status(r->proc);
    r->result.signal = proc_term_signal(r->proc);
    r->result.seconds = proc_seconds(r->proc);
    r->error = proc_stop_error(r->proc);
    if (r->error && r->result.err.len > 0) {
        size_t len = r->result.err.len;
        err_field(r->error, "stderr",
                  buf_text(&r->result.err) + (len > TAIL ? len - TAIL : 0));
    }
    r->proc = NULL;
    op_done(&r->op);
}

static void run_cancel(struct op *op)
{
    proc_stop(((struct run *)op)->proc, PROC_CANCELLED);
}

static int run_push(struct op *op, lua_State *L)
{
    struct run *r = (struct run *)op;
    if (!r->error)
        return r->push(L, &r->result, r->data);
    struct err *e = r->error;
    r->error = NULL;
    return err_return(L, e);
}

static void run_destroy(struct op *op)
{
    struct run *r = (struct run *)op;
    err_free(r->error);
    buf_fini_wiped(&r->result.out); /* a child may have printed anything */
    buf_fini_wiped(&r->result.err);
    mem_wipe_stack(); /* SIGCHLD tends to come while the output is being copied */
    if (r->free_data)
        r->free_data(r->data);
    mem_free(r);
}

int proc_run_wait(lua_State *L, struct proc_setup *setup, proc_push push, void *data,
                  void (*free_data)(void *data))
{
    static const struct proc_events events = {
        .data = on_data, .ended = on_ended, .closed = on_closed};
    if (op_cancelled(L)) {
        struct err *e = err_cancelled(setup->op);
        proc_setup_free(setup);
        if (free_data)
            free_data(data);
        return err_return(L, e);
    }
    struct run *r = mem_alloc(sizeof *r);
    r->op.cancel = run_cancel;
    r->op.push = run_push;
    r->op.destroy = run_destroy;
    r->limit = setup->limit;
    r->push = push;
    r->data = data;
    r->free_data = free_data;
    buf_init(&r->result.out);
    buf_init(&r->result.err);
    r->error = proc_start(L, setup, &events, r, &r->proc);
    if (r->error)
        op_done(&r->op);
    return op_wait(L, &r->op);
}

/* `seal` names the sealed value that the output becomes; NULL: it stays a string. */
static int push_result(lua_State *L, const struct proc_result *r, void *seal)
{
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    if (r->signal) {
        lua_pushinteger(L, r->signal);
        lua_setfield(L, -2, "signal");
    }
    if (seal)
        secret_push(L, secret_derive(seal, buf_text(&r->out), r->out.len));
    else
        lua_pushlstring(L, buf_text(&r->out), r->out.len);
    lua_setfield(L, -2, "stdout");
    lua_pushlstring(L, buf_text(&r->err), r->err.len);
    lua_setfield(L, -2, "stderr");
    lua_pushnumber(L, r->seconds);
    lua_setfield(L, -2, "seconds");
    return 1;
}

/* run{…} → {status, signal, stdout, stderr, seconds} | nil, err */
static int l_run(lua_State *L)
{
    op_check(L);
    struct proc_setup *setup = proc_options(L, 1, "proc.run", PROC_RUN);
    char *seal = mem_string(opt_string(L, 1, "seal", NULL));
    return proc_run_wait(L, setup, push_result, seal, mem_free);
}

struct build_id {
    char hex[2 * 20 + 1]; /* of SHA-1; empty when the linker left none */
};

static void read_notes(struct build_id *id, const char *at, size_t len)
{
    const ElfW(Nhdr) * note;
    while (len >= sizeof *note) {
        note = (const void *)at;
        size_t name = (note->n_namesz + 3U) & ~3U, text = (note->n_descsz + 3U) & ~3U;
        if (len - sizeof *note < name + text)
            return;
        const unsigned char *bytes = (const void *)(at + sizeof *note + name);
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 &&
            memcmp(at + sizeof *note, "GNU", 4) == 0) {
            for (size_t i = 0; i < note->n_descsz && 2 * i + 2 < sizeof id->hex; i++)
                (void)snprintf(id->hex + 2 * i, 3, "%02x", bytes[i]);
            return;
        }
        at += sizeof *note + name + text;
        len -= sizeof *note + name + text;
    }
}

static int on_object(struct dl_phdr_info *info, size_t size, void *id)
{
    (void)size;
    for (size_t i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes(id, (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr,
                       info->dlpi_phdr[i].p_memsz);
    return 1; /* the first object is the program */
}

/* build() → what the linker calls this binary: a hash of all that is in it, the stdlib
   too */
static int l_build(lua_State *L)
{
    struct build_id id = {.hex = ""};
    dl_iterate_phdr(on_object, &id);
    lua_pushstring(L, id.hex);
    return 1;
}

/* self() → {pid, namespace, user}: a pid means something only within its namespace, which
   the number of its inode tells. pid_namespaces(7) */
static int l_self(lua_State *L)
{
    struct stat info = {0};
    (void)stat("/proc/self/ns/pid", &info); /* where it cannot be asked, all are one */
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, getpid());
    lua_setfield(L, -2, "pid");
    lua_pushnumber(L, (lua_Number)info.st_ino);
    lua_setfield(L, -2, "namespace");
    uv_passwd_t user;
    if (uv_os_get_passwd(&user) == 0) {
        lua_pushstring(L, user.username);
        lua_setfield(L, -2, "user");
        uv_os_free_passwd(&user);
    }
    return 1;
}

/* export(name, value | nil): into the environment that children inherit */
static int l_export(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    const char *value = luaL_optstring(L, 2, NULL);
    if (*name == '\0' || strchr(name, '='))
        err_argument(L, "proc.export", "'%s' cannot be the name of a variable", name);
    if ((value ? setenv(name, value, 1) : unsetenv(name)) != 0)
        return err_raise(L, err_errno(errno, "proc.export", name));
    return 0;
}

int luaopen_host_proc(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"run", l_run},
        {"spawn", l_proc_spawn},
        {"foreground", l_proc_foreground},
        {"self", l_self},
        {"detach", l_proc_detach},
        {"export", l_export},
        {"build", l_build},
        {NULL, NULL},
    };
    proc_child_open(L);
    proc_detach_open(L);
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
