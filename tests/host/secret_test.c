/* Sealed values: counting, locked pages, and the environment they are taken from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lua.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/modules.h"
#include "loop/fs.h"
#include "secret/secret.h"
#include "secret/vault.h"

static void keeps_a_copy_until_the_last_reference(void **state)
{
    (void)state;
    char value[] = "copied value";
    struct secret *s = secret_derive("NAME", value, sizeof value - 1);
    memset(value, 'x', sizeof value);
    struct secret *again = secret_ref(s);
    secret_unref(s);
    size_t len;
    assert_string_equal(secret_open(again, &len), "copied value");
    assert_int_equal(len, 12);
    assert_string_equal(secret_name(again), "NAME");
    secret_unref(again);
    secret_unref(NULL);
}

/* The flags of the mapping that holds `address`, from /proc/self/smaps. */
static bool mapping_has_flag(const void *address, const char *flag)
{
    FILE *f = fopen("/proc/self/smaps", "re");
    char line[512], wanted[8];
    bool inside = false, found = false;
    assert_non_null(f);
    snprintf(wanted, sizeof wanted, " %s ", flag);
    while (fgets(line, sizeof line, f)) {
        char *rest;
        uintptr_t from = strtoull(line, &rest, 16);
        if (*rest == '-')
            inside = from <= (uintptr_t)address &&
                     (uintptr_t)address < strtoull(rest + 1, NULL, 16);
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            found = found || strstr(line, wanted) != NULL;
    }
    fclose(f);
    return found;
}

static void leaves_values_out_of_core_dumps(void **state)
{
    (void)state;
    struct secret *s = secret_derive("NAME", "not in a core", 13);
    assert_true(mapping_has_flag(secret_open(s, NULL), "dd"));
    secret_unref(s);
}

static void gives_zeroed_pages(void **state)
{
    (void)state;
    char *p = vault_alloc(10000);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(p[i], 0);
    vault_free(p, 10000);
    vault_free(NULL, 0);
}

static int fail_child(const char *reason)
{
    fprintf(stderr, "child: %s\n", reason);
    return 1;
}

/* Runs with CANARY in the environment it was started with, twice. */
static int take_canary(void)
{
    lua_State *L = luaL_newstate();
    luaopen_host_secret(L);
    lua_getfield(L, -1, "from_env");
    lua_pushliteral(L, "CANARY");
    lua_call(L, 1, 1);
    const struct secret *s = secret_test(L, -1);
    if (!s || strcmp(secret_open(s, NULL), "env-canary-value") != 0)
        return fail_child("the value was not taken");
    if (getenv("CANARY"))
        return fail_child("children would inherit it");
    struct buf environment;
    buf_init(&environment);
    if (fs_read("test", "/proc/self/environ", 1 << 20, &environment))
        return fail_child("/proc/self/environ cannot be read");
    if (memmem(environment.data, environment.len, "canary-value", 12))
        return fail_child("/proc/self/environ still shows it");
    buf_fini(&environment);
    lua_getfield(L, -2, "from_env");
    lua_pushliteral(L, "CANARY");
    lua_call(L, 1, 1);
    const struct secret *again = secret_test(L, -1);
    if (!again || strcmp(secret_open(again, NULL), "env-canary-value") != 0)
        return fail_child("the second reading differs");
    lua_close(L);
    return 0;
}

static void removes_a_value_from_the_environment(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        char *argv[] = {"secret_test", "take-canary", NULL};
        char *env[] = {"CANARY=env-canary-value", "OTHER=1", "CANARY=env-canary-value",
                       NULL};
        execve("/proc/self/exe", argv, env);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "take-canary") == 0)
        return take_canary();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_copy_until_the_last_reference),
        cmocka_unit_test(leaves_values_out_of_core_dumps),
        cmocka_unit_test(gives_zeroed_pages),
        cmocka_unit_test(removes_a_value_from_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
