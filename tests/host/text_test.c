/* Foreign text made fit to be shown, and bytes split into lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/lines.h"
#include "base/mem.h"
#include "base/text.h"

static void expect_clean(const char *dirty, size_t len, const char *clean)
{
    struct buf out;
    buf_init(&out);
    text_clean(&out, dirty, len);
    assert_string_equal(buf_text(&out), clean);
    buf_fini(&out);
}

#define EXPECT_CLEAN(dirty, clean) expect_clean(dirty, sizeof(dirty) - 1, clean)

static void keeps_utf8_and_nothing_else(void **state)
{
    (void)state;
    EXPECT_CLEAN("plain", "plain");
    EXPECT_CLEAN("", "");
    EXPECT_CLEAN("\xc3\xbc \xe2\x82\xac \xf0\x9f\x9a\x80",
                 "\xc3\xbc \xe2\x82\xac \xf0\x9f\x9a\x80");
    EXPECT_CLEAN("a\x1b[31mb\0c\x7f\r\n", "a [31mb c   ");
    EXPECT_CLEAN("\xc2\x9bm", " m");          /* a C1 control character */
    EXPECT_CLEAN("\xff\xc3", "??");           /* no lead byte; a cut sequence */
    EXPECT_CLEAN("\xc0\xaf", "??");           /* overlong */
    EXPECT_CLEAN("\xed\xa0\x80", "???");      /* a surrogate */
    EXPECT_CLEAN("\xf4\x90\x80\x80", "????"); /* beyond the last code point */
}

static void expect_last(const char *said, size_t count, const char *shown)
{
    struct buf out;
    buf_init(&out);
    text_last_lines(&out, said, strlen(said), count);
    assert_string_equal(buf_text(&out), shown);
    buf_fini(&out);
}

static void shows_the_last_lines(void **state)
{
    (void)state;
    expect_last("one\ntwo\nthree\n", 2, "two; three");
    expect_last("one\n\n  \r\nfatal: two\nhint: do this\n", 5, "one; two");
    expect_last("", 3, "");
    expect_last("only", 3, "only");
    expect_last("\n\n", 3, "");
}

static void masks_what_a_url_carries(void **state)
{
    (void)state;
    expect_last("fatal: 'https://me:word@host/x' and http://u@h/ and ssh://host/a@b", 1,
                "'https://***@host/x' and http://***@h/ and ssh://host/a@b");
    expect_last("://", 1, "://");
    expect_last("x://a", 1, "x://a");
}

/* Where a long line is cut must not decide what is masked. */
static void masks_a_url_that_is_cut(void **state)
{
    (void)state;
    for (size_t before = 400; before < 520; before++) {
        char line[1024];
        memset(line, 'x', before);
        strcpy(line + before, " https://me:word@host/x");
        struct buf out;
        buf_init(&out);
        text_last_lines(&out, line, strlen(line), 1);
        assert_null(strstr(buf_text(&out), "wo"));
        assert_true(out.len <= 500);
        buf_fini(&out);
    }
}

/* Feeds `bytes` in pieces of each size: the lines must not depend on where reads end. */
static void expect_lines(const char *bytes, const char *const *expected)
{
    size_t len = strlen(bytes);
    for (size_t piece = 1; piece <= len; piece++) {
        struct lines l;
        lines_init(&l);
        for (size_t at = 0; at < len; at += piece)
            lines_feed(&l, 0, bytes + at, len - at < piece ? len - at : piece);
        lines_end(&l, 0);
        for (const char *const *text = expected; *text; text++) {
            struct line *line = lines_take(&l);
            assert_non_null(line);
            assert_string_equal(line->bytes, *text);
            assert_false(line->cut);
            mem_free(line);
        }
        assert_null(lines_take(&l));
        assert_int_equal(l.queued, 0);
        lines_fini(&l);
    }
}

static void splits_lines_wherever_reads_end(void **state)
{
    (void)state;
    expect_lines("a\nbc\r\n\n\r\nd\re\n",
                 (const char *const[]){"a", "bc", "", "", "d\re", NULL});
    expect_lines("no end", (const char *const[]){"no end", NULL});
}

static void keeps_streams_apart(void **state)
{
    (void)state;
    struct lines l;
    lines_init(&l);
    lines_feed(&l, 0, "out", 3);
    lines_feed(&l, 1, "err\n", 4);
    lines_feed(&l, 0, "put\nrest", 8);
    struct line *line = lines_take(&l);
    assert_int_equal(line->stream, 1);
    mem_free(line);
    line = lines_take(&l);
    assert_string_equal(line->bytes, "output");
    mem_free(line);
    lines_fini(&l); /* with a partial line left */
}

static void cuts_only_what_is_longer(void **state)
{
    (void)state;
    char *bytes = mem_alloc(LINES_LONGEST + 2);
    memset(bytes, 'x', LINES_LONGEST + 1);
    for (size_t extra = 0; extra < 2; extra++) {
        struct lines l;
        lines_init(&l);
        lines_feed(&l, 0, bytes, LINES_LONGEST + extra);
        lines_feed(&l, 0, "\n", 1);
        struct line *line = lines_take(&l);
        assert_int_equal(line->len, LINES_LONGEST);
        assert_int_equal(line->cut, extra > 0);
        mem_free(line);
        line = lines_take(&l);
        assert_int_equal(line != NULL, extra > 0);
        mem_free(line);
        lines_fini(&l);
    }
    mem_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_utf8_and_nothing_else),
        cmocka_unit_test(shows_the_last_lines),
        cmocka_unit_test(masks_what_a_url_carries),
        cmocka_unit_test(masks_a_url_that_is_cut),
        cmocka_unit_test(splits_lines_wherever_reads_end),
        cmocka_unit_test(keeps_streams_apart),
        cmocka_unit_test(cuts_only_what_is_longer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
