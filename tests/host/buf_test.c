/* Growable bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static void begins_empty_and_readable(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    assert_null(b.data);
    assert_string_equal(buf_text(&b), "");
    buf_reset(&b);
    buf_drop(&b, 5);
    buf_fini(&b);
}

static void grows_and_stays_terminated(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 1000; i++) {
        buf_add(&b, "ab\0c", 4);
        assert_int_equal(b.data[b.len], '\0');
    }
    assert_int_equal(b.len, 4000);
    assert_memory_equal(b.data + 3996, "ab\0c", 4);
    buf_fini(&b);
    assert_int_equal(b.len, 0);
}

static void adds_text_characters_and_formats(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_add_text(&b, "x=");
    buf_add_format(&b, "%d/%s", 42, "y");
    buf_add_char(&b, '!');
    buf_add(&b, NULL, 0);
    assert_string_equal(buf_text(&b), "x=42/y!");
    buf_fini(&b);
}

static void drops_from_the_front(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_add_text(&b, "abcdef");
    buf_drop(&b, 2);
    assert_string_equal(buf_text(&b), "cdef");
    buf_drop(&b, 0);
    assert_string_equal(buf_text(&b), "cdef");
    buf_drop(&b, 100);
    assert_string_equal(buf_text(&b), "");
    buf_add_text(&b, "again");
    assert_string_equal(buf_text(&b), "again");
    buf_fini_wiped(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_empty_and_readable),
        cmocka_unit_test(grows_and_stays_terminated),
        cmocka_unit_test(adds_text_characters_and_formats),
        cmocka_unit_test(drops_from_the_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
