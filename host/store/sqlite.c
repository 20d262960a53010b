/* host.sqlite: statements run on libuv's threads, one at a time on a connection. */
#include <lauxlib.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"
#include "base/opt.h"
#include "loop/task.h"
#include "secret/gate.h"

#define DB "dgrun.sqlite"

enum {
    BUSY_MILLISECONDS = 10000,
    BUSY_NAP_MILLISECONDS = 25,
    STEPS_BETWEEN_LOOKS = 1000,
    ROWS_LIMIT = 1000 * 1000,
    PREPARED_LIMIT = 16,
};

struct cell {
    int type; /* SQLITE_NULL, … */
    double number;
    char *text;
    size_t len;
};

/* A statement that is kept for its next use: preparing it takes as long as running it. */
struct prepared {
    char *sql;
    sqlite3_stmt *statement;
};

struct database {
    sqlite3 *handle;
    struct prepared prepared[PREPARED_LIMIT]; /* the one used last comes first */
    char *path;
    struct work *first, **last; /* the first one runs */
    unsigned holds;             /* the box, and each work */
    bool closed;
};

struct work {
    struct op op;
    uv_work_t request;
    struct work *next;
    struct database *database;
    char *sql;
    struct cell *parameters;
    int parameter_count;
    char **columns;
    int column_count;
    struct cell *cells;
    size_t cell_count, cell_size;
    long long changes, last_id;
    int status;
    char *message;
    int waited; /* milliseconds, for a lock */
    atomic_bool stop;
    bool rows, too_many;
};

static void let_go(struct database *d)
{
    if (--d->holds)
        return;
    for (int i = 0; i < PREPARED_LIMIT; i++) {
        sqlite3_finalize(d->prepared[i].statement);
        mem_free(d->prepared[i].sql);
    }
    sqlite3_close_v2(d->handle);
    mem_free(d->path);
    mem_free(d);
}

static void free_cells(struct cell *cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(cells[i].text);
    mem_free(cells);
}

/* On a thread of the pool */

static int bind_parameters(sqlite3_stmt *statement, const struct work *w)
{
    for (int i = 0; i < w->parameter_count; i++) {
        const struct cell *c = &w->parameters[i];
        int status = SQLITE_OK;
        if (c->type == SQLITE_TEXT)
            status =
                sqlite3_bind_text(statement, i + 1, c->text, (int)c->len, SQLITE_STATIC);
        else if (c->type == SQLITE_INTEGER)
            status = sqlite3_bind_int64(statement, i + 1, (sqlite3_int64)c->number);
        else if (c->type == SQLITE_FLOAT)
            status = sqlite3_bind_double(statement, i + 1, c->number);
        if (status != SQLITE_OK)
            return status;
    }
    return SQLITE_OK;
}

static void read_names(sqlite3_stmt *statement, struct work *w)
{
    w->column_count = sqlite3_column_count(statement);
    w->columns = mem_array((size_t)w->column_count, sizeof *w->columns);
    for (int i = 0; i < w->column_count; i++)
        w->columns[i] = mem_string(sqlite3_column_name(statement, i));
}

static void read_row(sqlite3_stmt *statement, struct work *w)
{
    for (int i = 0; i < w->column_count; i++) {
        if (w->cell_count == w->cell_size) {
            w->cell_size = w->cell_size ? w->cell_size * 2 : 64;
            w->cells = mem_resize(w->cells, w->cell_size * sizeof *w->cells);
        }
        struct cell *c = &w->cells[w->cell_count++];
        memset(c, 0, sizeof *c);
        c->type = sqlite3_column_type(statement, i);
        if (c->type == SQLITE_INTEGER || c->type == SQLITE_FLOAT) {
            c->number = sqlite3_column_double(statement, i);
        } else if (c->type != SQLITE_NULL) {
            const void *data = sqlite3_column_blob(statement, i);
            c->len = (size_t)sqlite3_column_bytes(statement, i);
            c->text = mem_copy(data ? data : "", c->len);
        }
    }
}

static int run_statement(struct work *w, sqlite3_stmt *statement)
{
    int status = bind_parameters(statement, w);
    if (status != SQLITE_OK)
        return status;
    do {
        status = sqlite3_step(statement);
        /* Not before: a step prepares anew what the schema has outdated. */
        if (w->rows && !w->columns)
            read_names(statement, w);
        if (w->rows && status == SQLITE_ROW)
            read_row(statement, w);
        if (w->column_count && w->cell_count / (size_t)w->column_count > ROWS_LIMIT) {
            w->too_many = true;
            return SQLITE_DONE;
        }
    } while (status == SQLITE_ROW);
    return status;
}

static bool run_prepared(struct work *w)
{
    struct prepared *list = w->database->prepared;
    int at = 0;
    while (at < PREPARED_LIMIT && list[at].sql && strcmp(list[at].sql, w->sql) != 0)
        at++;
    if (at == PREPARED_LIMIT || !list[at].sql)
        return false;
    struct prepared found = list[at];
    memmove(list + 1, list, (size_t)at * sizeof *list);
    list[0] = found;
    w->status = run_statement(w, found.statement);
    if (w->status != SQLITE_DONE)
        w->message = mem_string(sqlite3_errmsg(w->database->handle));
    sqlite3_reset(found.statement);
    sqlite3_clear_bindings(found.statement);
    return true;
}

/* One without parameters does not come again, or is a pragma, which may act when it is
   prepared. */
static bool keep_prepared(struct work *w, sqlite3_stmt *statement, const char *rest)
{
    if (*rest || !statement || !sqlite3_bind_parameter_count(statement))
        return false;
    struct prepared *list = w->database->prepared;
    struct prepared oldest = list[PREPARED_LIMIT - 1];
    sqlite3_finalize(oldest.statement);
    mem_free(oldest.sql);
    memmove(list + 1, list, (PREPARED_LIMIT - 1) * sizeof *list);
    list[0] = (struct prepared){.sql = mem_string(w->sql), .statement = statement};
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return true;
}

static void run_text(struct work *w)
{
    sqlite3 *handle = w->database->handle;
    const char *sql = w->sql;
    w->status = SQLITE_DONE;
    while (*sql && w->status == SQLITE_DONE && !w->too_many) {
        bool is_first = sql == w->sql;
        sqlite3_stmt *statement = NULL;
        w->status = sqlite3_prepare_v2(handle, sql, -1, &statement, &sql);
        if (w->status == SQLITE_OK)
            w->status = statement ? run_statement(w, statement) : SQLITE_DONE;
        if (w->status != SQLITE_DONE)
            w->message = mem_string(sqlite3_errmsg(handle));
        if (!is_first || !keep_prepared(w, statement, sql))
            sqlite3_finalize(statement);
    }
}

/* sqlite3_interrupt does nothing before the statement has begun, nor while it waits for a
   lock; a flag of the work's own is seen at any time. */
static int on_progress(void *data)
{
    struct work *w = data;
    return atomic_load(&w->stop);
}

static int on_busy(void *data, int count)
{
    (void)count;
    struct work *w = data;
    if (atomic_load(&w->stop) || w->waited >= BUSY_MILLISECONDS)
        return 0;
    int nap = w->waited < BUSY_NAP_MILLISECONDS ? 1 : BUSY_NAP_MILLISECONDS;
    w->waited += nap;
    sqlite3_sleep(nap);
    return 1;
}

static void on_work(uv_work_t *request)
{
    struct work *w = request->data;
    sqlite3 *handle = w->database->handle;
    sqlite3_progress_handler(handle, STEPS_BETWEEN_LOOKS, on_progress, w);
    sqlite3_busy_handler(handle, on_busy, w);
    if (!run_prepared(w))
        run_text(w);
    w->changes = sqlite3_changes(handle);
    w->last_id = sqlite3_last_insert_rowid(handle);
    sqlite3_progress_handler(handle, 0, NULL, NULL);
    sqlite3_busy_handler(handle, NULL, NULL);
}

/* On the loop */

static void start_next(struct database *d, uv_loop_t *loop);

static void on_after(uv_work_t *request, int status)
{
    struct work *w = request->data;
    struct database *d = w->database;
    if (status < 0 && !w->message) {
        w->status = SQLITE_INTERRUPT;
        w->message = mem_string("interrupted");
    }
    uv_loop_t *loop = request->loop;
    d->first = w->next;
    if (!d->first)
        d->last = &d->first;
    op_done(&w->op);
    start_next(d, loop);
}

static void start_next(struct database *d, uv_loop_t *loop)
{
    if (d->first)
        uv_queue_work(loop, &d->first->request, on_work, on_after);
}

static void work_cancel(struct op *op)
{
    struct work *w = (struct work *)op;
    struct database *d = w->database;
    if (d->first == w) {
        atomic_store(&w->stop, true);
        uv_cancel((uv_req_t *)&w->request);
        return;
    }
    struct work **link = &d->first;
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    if (!w->next)
        d->last = link;
    w->status = SQLITE_INTERRUPT;
    op_done(op);
}

static const char *code_of(int status)
{
    switch (status & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "sqlite.busy";
    case SQLITE_CONSTRAINT:
        return "sqlite.constraint";
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return "sqlite.read_only";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return "sqlite.not_a_database";
    default:
        return "sqlite.failed";
    }
}

static void push_cell(lua_State *L, const struct cell *c)
{
    if (c->text)
        lua_pushlstring(L, c->text, c->len);
    else if (c->type == SQLITE_NULL)
        lua_pushnil(L);
    else
        lua_pushnumber(L, c->number);
}

static int work_push(struct op *op, lua_State *L)
{
    struct work *w = (struct work *)op;
    if (op->cancelled && w->status != SQLITE_DONE)
        return err_return(L, err_cancelled("sqlite.query"));
    if (w->status != SQLITE_DONE)
        return err_return(L,
                          err_new(code_of(w->status), "sqlite.query", "%s: %s",
                                  w->database->path, w->message ? w->message : "failed"));
    if (w->too_many)
        return err_return(L, err_new("sqlite.too_large", "sqlite.query",
                                     "%s: too many rows", w->database->path));
    lua_newtable(L);
    if (!w->rows) {
        lua_pushnumber(L, (lua_Number)w->changes);
        lua_setfield(L, -2, "changes");
        lua_pushnumber(L, (lua_Number)w->last_id);
        lua_setfield(L, -2, "last_id");
        return 1;
    }
    size_t columns = (size_t)w->column_count;
    for (size_t i = 0; columns && i < w->cell_count / columns; i++) {
        lua_createtable(L, 0, w->column_count);
        for (size_t j = 0; j < columns; j++) {
            push_cell(L, &w->cells[i * columns + j]);
            lua_setfield(L, -2, w->columns[j]);
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
    return 1;
}

static void work_destroy(struct op *op)
{
    struct work *w = (struct work *)op;
    for (int i = 0; i < w->column_count; i++)
        mem_free(w->columns[i]);
    mem_free(w->columns);
    free_cells(w->cells, w->cell_count);
    free_cells(w->parameters, (size_t)w->parameter_count);
    mem_free(w->sql);
    mem_free(w->message);
    let_go(w->database);
    mem_free(w);
}

/* Lua */

static struct database *check_database(lua_State *L)
{
    struct database **box = luaL_checkudata(L, 1, DB);
    if (!*box || (*box)->closed)
        luaL_error(L, "the database is closed");
    return *box;
}

static void check_parameters(lua_State *L, int index)
{
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int type = lua_type(L, -1);
        if (lua_type(L, -2) != LUA_TNUMBER ||
            (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN &&
             type != LUA_TLIGHTUSERDATA))
            err_argument(L, "sqlite.query",
                         "parameters are a list of strings, numbers, booleans and null");
        lua_pop(L, 1);
    }
}

static void read_parameters(lua_State *L, int index, struct work *w)
{
    if (!lua_istable(L, index))
        return;
    w->parameter_count = (int)lua_objlen(L, index);
    w->parameters = mem_array((size_t)w->parameter_count, sizeof *w->parameters);
    for (int i = 0; i < w->parameter_count; i++) {
        struct cell *c = &w->parameters[i];
        lua_rawgeti(L, index, i + 1);
        c->type = SQLITE_NULL;
        if (lua_type(L, -1) == LUA_TSTRING) {
            c->type = SQLITE_TEXT;
            const char *text = lua_tolstring(L, -1, &c->len);
            c->text = mem_copy(text, c->len);
        } else if (lua_type(L, -1) == LUA_TNUMBER) {
            c->number = lua_tonumber(L, -1);
            c->type =
                c->number == (double)(long long)c->number ? SQLITE_INTEGER : SQLITE_FLOAT;
        } else if (lua_type(L, -1) == LUA_TBOOLEAN) {
            c->type = SQLITE_INTEGER;
            c->number = lua_toboolean(L, -1);
        }
        lua_pop(L, 1);
    }
}

static int run(lua_State *L, bool rows)
{
    op_check(L);
    struct database *d = check_database(L);
    const char *sql = luaL_checkstring(L, 2);
    check_parameters(L, 3);
    if (op_cancelled(L))
        return err_return(L, err_cancelled("sqlite.query"));
    struct work *w = mem_alloc(sizeof *w);
    w->op =
        (struct op){.cancel = work_cancel, .push = work_push, .destroy = work_destroy};
    w->request.data = w;
    w->database = d;
    w->rows = rows;
    w->sql = mem_string(sql);
    read_parameters(L, 3, w);
    d->holds++;
    bool idle = !d->first;
    *d->last = w;
    d->last = &w->next;
    if (idle)
        start_next(d, task_loop(L));
    return op_wait(L, &w->op);
}

/* db:exec(sql [, parameters]) → {changes, last_id} | nil, err */
static int l_exec(lua_State *L) { return run(L, false); }

/* db:query(sql [, parameters]) → rows | nil, err; a row is name → value, NULL is absent
 */
static int l_query(lua_State *L) { return run(L, true); }

static int l_close(lua_State *L)
{
    struct database **box = luaL_checkudata(L, 1, DB);
    struct database *d = *box;
    if (!d)
        return 0;
    *box = NULL;
    d->closed = true;
    let_go(d);
    return 0;
}

/* Is this a file in WAL mode that nobody has open? To read it SQLite would make a -wal
   and a -shm beside it, and a reader leaves them there.
   https://www.sqlite.org/uri.html#uriimmutable */
static bool is_resting(const char *path)
{
    char *wal = mem_format("%s-wal", path);
    bool open = access(wal, F_OK) == 0;
    mem_free(wal);
    /* Not read then: closing it would end the locks that this process has on it. */
    if (open)
        return false;
    unsigned char header[20] = {0};
    FILE *file = fopen(path, "rbe");
    size_t len = file ? fread(header, 1, sizeof header, file) : 0;
    if (file)
        fclose(file);
    return len == sizeof header && header[18] == 2;
}

static int open_resting(const char *path, sqlite3 **handle)
{
    struct buf uri;
    buf_init(&uri);
    buf_add_text(&uri, "file:");
    for (const char *p = path; *p; p++) {
        if (strchr("%?#", *p))
            buf_add_format(&uri, "%%%02x", (unsigned char)*p);
        else
            buf_add_char(&uri, *p);
    }
    buf_add_text(&uri, "?immutable=1");
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_URI;
    int status = sqlite3_open_v2(buf_text(&uri), handle, flags, NULL);
    buf_fini(&uri);
    return status;
}

static int open_private(const char *path, int flags, sqlite3 **handle)
{
    mode_t mask = umask(077);
    int status = sqlite3_open_v2(path, handle, flags | SQLITE_OPEN_FULLMUTEX, NULL);
    umask(mask);
    return status;
}

/* Another file, which ATTACH and VACUUM INTO open, would be written although this one is
   read-only. The nameless one of a plain VACUUM is temporary.
   https://www.sqlite.org/c3ref/set_authorizer.html */
static int on_authorize(void *data, int action, const char *file, const char *unused,
                        const char *database, const char *trigger)
{
    (void)data, (void)unused, (void)database, (void)trigger;
    return action == SQLITE_ATTACH && (!file || *file) ? SQLITE_DENY : SQLITE_OK;
}

/* open(path [, {read_only=, create=}]) → db | nil, err. In a plan always read_only. */
static int l_open(lua_State *L)
{
    static const struct opt options[] = {
        {"read_only", OPT_BOOLEAN, false},
        {"create", OPT_BOOLEAN, false},
        {NULL, 0, false},
    };
    const char *path = luaL_checkstring(L, 1);
    bool read_only = gate_closed() && !gate_may_write(path);
    bool create = true;
    if (!lua_isnoneornil(L, 2)) {
        opt_check(L, 2, "sqlite.open", options);
        read_only = read_only || opt_boolean(L, 2, "read_only", false);
        create = opt_boolean(L, 2, "create", true);
    }
    struct database **box = lua_newuserdata(L, sizeof(struct database *));
    *box = NULL;
    luaL_getmetatable(L, DB);
    lua_setmetatable(L, -2);

    int flags = read_only ? SQLITE_OPEN_READONLY
                          : SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    sqlite3 *handle = NULL;
    int status = read_only && is_resting(path) ? open_resting(path, &handle)
                                               : open_private(path, flags, &handle);
    if (status != SQLITE_OK) {
        struct err *e = err_new("sqlite.open", "sqlite.open", "%s: %s", path,
                                handle ? sqlite3_errmsg(handle) : sqlite3_errstr(status));
        sqlite3_close_v2(handle);
        return err_return(L, e);
    }
    if (read_only || gate_closed())
        sqlite3_set_authorizer(handle, on_authorize, NULL);
    struct database *d = mem_alloc(sizeof *d);
    d->handle = handle;
    d->path = mem_string(path);
    d->last = &d->first;
    d->holds = 1;
    *box = d;
    return 1;
}

int luaopen_host_sqlite(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"exec", l_exec},
        {"query", l_query},
        {"close", l_close},
        {NULL, NULL},
    };
    static const luaL_Reg funcs[] = {
        {"open", l_open},
        {NULL, NULL},
    };
    luaL_newmetatable(L, DB);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_close);
    lua_setfield(L, -2, "__gc");
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
