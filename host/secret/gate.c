/* The gate is a flag of the process and a list of folders. Nothing enforces it: each
   module that can write asks it. It stops code that bypasses effect.write by mistake, not
   code that means to write.

   A path is judged by where the write would land: the real path of the part that exists,
   then the rest. Where that cannot be known (a dangling link, ".." behind a folder that
   does not exist yet) the write is refused. Between the answer and the write a folder may
   still be replaced by a link; the gate does not guard against that. */
#include "secret/gate.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/modules.h"

/* One process is either a plan or a run, so this is the process's own. */
static struct {
    bool closed;
    char **folders; /* real paths, NULL at the end */
    size_t count;
} gate;

void gate_close(void) { gate.closed = true; }

bool gate_closed(void) { return gate.closed; }

void gate_allow(const char *directory)
{
    char *real = realpath(directory, NULL);
    if (!real)
        return;
    gate.folders = mem_resize(gate.folders, (gate.count + 2) * sizeof *gate.folders);
    gate.folders[gate.count++] = real;
    gate.folders[gate.count] = NULL;
}

static bool has_parent_step(const char *path)
{
    for (; *path; path += strcspn(path, "/"), path += strspn(path, "/"))
        if (strncmp(path, "..", 2) == 0 && (path[2] == '/' || path[2] == '\0'))
            return true;
    return false;
}

/* Where a write to this path would land; NULL where that cannot be known. */
static char *landing(const char *path)
{
    char *head = mem_string(path);
    size_t cut = strlen(head);
    char *result = NULL;
    for (;;) {
        const char *place = *head ? head : path[0] == '/' ? "/" : ".";
        char *real = realpath(place, NULL);
        struct stat st;
        if (real) {
            result = mem_format("%s/%s", real, path + cut);
            free(real);
            break;
        }
        if (lstat(place, &st) == 0 || !*head)
            break;
        while (cut && head[cut - 1] == '/')
            cut--;
        while (cut && head[cut - 1] != '/')
            cut--;
        head[cut] = '\0';
        if (has_parent_step(path + cut))
            break;
    }
    mem_free(head);
    return result;
}

static bool below(const char *folder, const char *path)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool gate_may_write(const char *path)
{
    if (!gate.closed)
        return true;
    char *target = landing(path);
    bool may = false;
    for (size_t i = 0; target && i < gate.count; i++)
        may = may || below(gate.folders[i], target);
    mem_free(target);
    return may;
}

struct err *gate_refusal(const char *op, const char *what)
{
    struct err *e =
        err_new("plan.write_refused", op,
                "%s: %s was refused, because a plan must not change anything", op, what);
    err_hint(e, "Use a dgrun function or effect.write, which a plan records.");
    err_field(e, "what", what);
    return e;
}

static int l_close(lua_State *L)
{
    (void)L;
    gate_close();
    return 0;
}

static int l_closed(lua_State *L)
{
    lua_pushboolean(L, gate_closed());
    return 1;
}

int luaopen_host_gate(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        {"close", l_close},
        {"closed", l_closed},
        {NULL, NULL},
    };
    lua_newtable(L);
    luaL_setfuncs(L, funcs, 0);
    return 1;
}
