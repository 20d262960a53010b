/* The dotenv parser. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "formats/dotenv.h"

/* What was found as "NAME@line=<value>" lines; a '$' behind those that a shell would
 * expand. */
static void on_entry(void *data, const struct dotenv_entry *entry)
{
    buf_add_format(data, "%s@%u=<", entry->name, entry->line);
    buf_add(data, entry->value, entry->len);
    buf_add_text(data, entry->expands ? ">$\n" : ">\n");
}

static void reads(const char *text, const char *expected)
{
    struct buf found;
    buf_init(&found);
    struct err *e = dotenv_parse(text, strlen(text), ".env", on_entry, &found);
    if (e)
        fail_msg("%s", err_msg(e));
    assert_string_equal(buf_text(&found), expected);
    buf_fini(&found);
}

static void fails(const char *text, const char *message)
{
    struct buf found;
    buf_init(&found);
    struct err *e = dotenv_parse(text, strlen(text), ".env", on_entry, &found);
    buf_fini(&found);
    assert_non_null(e);
    assert_string_equal(err_code(e), "dotenv.syntax");
    assert_string_equal(err_msg(e), message);
    err_free(e);
}

static void reads_plain_lines(void **state)
{
    (void)state;
    reads("", "");
    reads("\n\n  # only a comment\n", "");
    reads("A=1\nB=two words \n C = x", "A@1=<1>\nB@2=<two words>\nC@3=<x>\n");
    reads("export A=1\nexport\tB=2\nexported=3", "A@1=<1>\nB@2=<2>\nexported@3=<3>\n");
    reads("A=\nB= # nothing\n", "A@1=<>\nB@2=<>\n");
    reads("A=x#y # z\nB=#x\n", "A@1=<x#y>\nB@2=<#x>\n");
    reads("A=1\r\nB=2\r\n", "A@1=<1>\nB@2=<2>\n");
    reads("\xef\xbb\xbf"
          "A=1\n",
          "A@1=<1>\n");
    reads("U=p://u:a=b@h/d?x=1&y=2", "U@1=<p://u:a=b@h/d?x=1&y=2>\n");
}

static void expands_nothing(void **state)
{
    (void)state;
    reads("A=$HOME `id` $(id) \\n", "A@1=<$HOME `id` $(id) \\n>$\n");
    reads("A=\"$HOME ${X} $(id)\"", "A@1=<$HOME ${X} $(id)>$\n");
    reads(
        "A=pa$$word$ # ${X}\nB='${X} $(id) `id`'\nC=\"\\${X} \\$(id) \\`id\\` $HOME$\"\n",
        "A@1=<pa$$word$>\nB@2=<${X} $(id) `id`>\nC@3=<${X} $(id) `id` $HOME$>\n");
    reads("A=u:${X}@h\nB=\"`id`\"\nC=$(id)\nD=d",
          "A@1=<u:${X}@h>$\nB@2=<`id`>$\nC@3=<$(id)>$\nD@4=<d>\n");
}

static void reads_quotes(void **state)
{
    (void)state;
    reads("A='a \"b\" # \\n c'  # end\nB=2", "A@1=<a \"b\" # \\n c>\nB@2=<2>\n");
    reads("A=\"x\\n\\t\\\"\\\\ \\$ \\q 'y' #\"", "A@1=<x\n\t\"\\ $ \\q 'y' #>\n");
    reads("A=\"one\ntwo\r\nthree\"\nB='x\n\ny'\nC=3",
          "A@1=<one\ntwo\nthree>\nB@4=<x\n\ny>\nC@7=<3>\n");
    reads("A=\"\"\nB=''", "A@1=<>\nB@2=<>\n");
    reads("A=\"a \\\n  b\\\r\nc\"\nB='a\\\nb'\nC=a\\\nD=1",
          "A@1=<a   bc>\nB@4=<a\\\nb>\nC@6=<a\\>\nD@7=<1>\n");
    reads("A=it's \"so\"\nB=\"it's\"#c", "A@1=<it's \"so\">\nB@2=<it's>\n");
    reads("K=\"-----BEGIN KEY-----\nabc+/==\n-----END KEY-----\n\"\nB=2",
          "K@1=<-----BEGIN KEY-----\nabc+/==\n-----END KEY-----\n>\nB@5=<2>\n");
}

static void takes_an_export_alone(void **state)
{
    (void)state;
    reads("A=1\nexport A\nexport B # later\r\nexport C", "A@1=<1>\n");
    fails("export A B", ".env:1: expected '=' after the name");
    fails("A=1\nA", ".env:2: expected '=' after the name");
}

static void names_the_line_of_a_mistake(void **state)
{
    (void)state;
    fails("A=1\nnonsense\n", ".env:2: expected '=' after the name");
    fails("=x", ".env:1: expected NAME=value");
    fails("9A=x", ".env:1: expected NAME=value");
    fails("\nA-B=x", ".env:2: expected '=' after the name");
    fails("A=1\nB=\"open\nC=2\n", ".env:2: the quote that opens here is never closed");
    fails("A='x", ".env:1: the quote that opens here is never closed");
    fails("A=\"x\\", ".env:1: the quote that opens here is never closed");
    fails("A='x\ny' rest", ".env:2: only a comment may follow the closing quote");
}

static void has_limits(void **state)
{
    (void)state;
    struct buf found, text;
    buf_init(&found);
    buf_init(&text);
    for (int i = 0; i < 5000; i++)
        buf_add_format(&text, "A%d=\n", i);
    struct err *e = dotenv_parse(text.data, text.len, ".env", on_entry, &found);
    assert_string_equal(err_msg(e), ".env:4097: there are too many entries");
    err_free(e);
    while (text.len <= 1048576)
        buf_add_text(&text, "# a long comment that makes the file too large\n");
    e = dotenv_parse(text.data, text.len, ".env", on_entry, &found);
    assert_string_equal(err_msg(e), ".env:1: the file is larger than 1 MiB");
    err_free(e);
    e = dotenv_parse("\xff\xfe"
                     "A\0",
                     4, ".env", on_entry, &found);
    assert_string_equal(err_msg(e), ".env:1: the file is UTF-16; save it as UTF-8");
    err_free(e);
    e = dotenv_parse("A=\0", 3, ".env", on_entry, &found);
    assert_string_equal(err_msg(e), ".env:1: the file contains NUL bytes");
    err_free(e);
    buf_fini(&text);
    buf_fini(&found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_plain_lines),
        cmocka_unit_test(expands_nothing),
        cmocka_unit_test(reads_quotes),
        cmocka_unit_test(takes_an_export_alone),
        cmocka_unit_test(names_the_line_of_a_mistake),
        cmocka_unit_test(has_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
