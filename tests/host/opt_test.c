/* Suggestions for a misspelt name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/opt.h"

static const char *const known[] = {"ref", "remote", "allow_older", "dir", NULL};

static void finds_the_nearest(void **state)
{
    (void)state;
    assert_string_equal(opt_nearest("refs", known), "ref");
    assert_string_equal(opt_nearest("alow_oldr", known), "allow_older");
    assert_string_equal(opt_nearest("rmeote", known), "remote");
}

static void finds_nothing_far_away(void **state)
{
    (void)state;
    assert_null(opt_nearest("banana_split", known));
    char long_name[200];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_null(opt_nearest(long_name, known));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_nearest),
        cmocka_unit_test(finds_nothing_far_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
