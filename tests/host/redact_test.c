/* The streaming redactor: every form of a secret, whatever way the text is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"
#include "secret/redact.h"
#include "secret/secret.h"

static void on_text(void *data, const char *bytes, size_t len)
{
    buf_add(data, bytes, len);
}

static void mask(const char *value) { redact_register(value, strlen(value)); }

static char *redacted(const char *text, size_t len, size_t step)
{
    struct buf out;
    buf_init(&out);
    struct redactor *r = redactor_new(on_text, &out);
    for (size_t i = 0; i < len; i += step)
        redactor_feed(r, text + i, len - i < step ? len - i : step);
    redactor_flush(r);
    redactor_free(r);
    char *result = mem_copy(buf_text(&out), out.len);
    buf_fini(&out);
    return result;
}

static void gives(const char *text, const char *expected)
{
    size_t len = strlen(text);
    for (size_t step = 1; step <= len; step++) {
        char *result = redacted(text, len, step);
        assert_string_equal(result, expected);
        mem_free(result);
    }
}

static void masks_the_value_as_it_stands(void **state)
{
    (void)state;
    mask("hunter2!hunter");
    gives("hunter2!hunter", "***");
    gives("a hunter2!hunter b", "a *** b");
    gives("hunter2!hunte", "hunter2!hunte");
    gives("hunter2!hunter2!hunter", "***");
    gives("xhunter2!hunterhunter2!hunter", "x******");
}

static void masks_url_encoded_forms(void **state)
{
    (void)state;
    mask("pa ss/w+rd%é\n\"q");
    gives("?p=pa%20ss%2Fw%2Brd%25%C3%A9%0A%22q&x", "?p=***&x");
    gives("?p=pa%20ss%2fw%2brd%25%c3%a9%0a%22q&x", "?p=***&x");
    gives("?p=pa+ss%2Fw%2Brd%25%C3%A9%0A%22q&x", "?p=***&x");
    gives("?p=pa%20ss/w%2Brd%25é%0A%22q&x", "?p=***&x");
    gives("%70%61%20%73%73%2F%77%2B%72%64%25%C3%A9%0A%22%71", "***");
    gives("100% sure, 5%2, %, %%41", "100% sure, 5%2, %, %%41");
}

static void masks_html_escaped_forms(void **state)
{
    (void)state;
    mask("h<t>m&l\"q'é😎z");
    gives("<p>h&lt;t&gt;m&amp;l&quot;q&#39;é😎z</p>", "<p>***</p>");
    gives("<p>h&lt;t&gt;m&amp;l&#34;q&apos;&#233;&#x1F60E;z</p>", "<p>***</p>");
    gives("h&#60;t&#x3e;m&#X26;l&#x22;q&#x27;&#xE9;&#128526;z", "***");
    gives("&h&lt;t&gt;m&amp;l&quot;q&#39;é😎z&", "&***&");
    gives("&amp;&&lt &a;&#;&#x;&#99999999;&averylongname; a&b=c",
          "&amp;&&lt &a;&#;&#x;&#99999999;&averylongname; a&b=c");
}

static void masks_what_ends_like_an_escape(void **state)
{
    (void)state;
    mask("en/ds %2");
    gives("en%2Fds%20%2", "***");
    gives("en%2Fds%20%2 ", "*** ");
    mask("en/ds &");
    gives("en&#47;ds &", "***");
}

static void masks_hexadecimal_digits(void **state)
{
    (void)state;
    mask("hex!Z\xe9\x7f value of some length");
    gives("x 686578215ae97f2076616c7565206f6620736f6d65206c656e677468 y", "x *** y");
    gives("x=686578215AE97F2076616C7565206F6620736F6D65206C656E677468;", "x=***;");
    gives("686578215ae97f2076616c75\n65206f6620736f6d65206c656e677468", "***");
    gives("686578215ae97f2076616c7565206f", "686578215ae97f2076616c7565206f");
}

static void masks_what_was_encoded_twice(void **state)
{
    (void)state;
    mask("tw/ce %d\"a+b\\n\né");
    gives("?u=%2Ftw%252Fce%2520%2525d%2522a%252Bb%255Cn%250A%25C3%25A9&x", "?u=%2F***&x");
    gives("tw%252fce%2B%2525d%2522a%252bb%255cn%250a%25c3%25a9", "***");
    gives("tw%25%32%46ce%2520%2525d%2522a%252Bb%255Cn%250A%25C3%25A9", "***");
    gives("tw/ce%2520%2525d\"a%252Bb%255Cn%250Aé", "***");
    gives("{\"j\":\"{\\\"v\\\":\\\"tw/ce %d\\\\\\\"a+b\\\\\\\\n\\\\né\\\"}\"}",
          "{\"j\":\"{\\\"v\\\":\\\"***\\\"}\"}");
    gives("tw\\\\/ce %d\\\\\\\"a+b\\\\\\\\n\\\\n\\\\u00e9", "***");
    gives("tw/ce %d\\u005c\\u0022a+b\\\\\\\\n\\\\n\\\\u00E9", "***");
    gives("%2525 %25 %252 %25zz \\\\ \\\\u00 \\\\\\",
          "%2525 %25 %252 %25zz \\\\ \\\\u00 \\\\\\");
}

static void masks_escaped_forms(void **state)
{
    (void)state;
    mask("a\"b\\c/d\n\té😀z<");
    gives("{\"v\":\"a\\\"b\\\\c/d\\n\\té😀z<\"}", "{\"v\":\"***\"}");
    gives("{\"v\":\"a\\\"b\\\\c\\/d\\n\\té😀z<\"}", "{\"v\":\"***\"}");
    gives("\"a\\\"b\\\\c/d\\u000a\\u0009\\u00e9\\ud83d\\ude00z\\u003c\"", "\"***\"");
    gives("\"a\\\"b\\\\c/d\\u000A\\u0009\\u00E9\\uD83D\\uDE00z\\u003C\"", "\"***\"");
    gives("$'a\"b\\\\c/d\\n\\t\\xc3\\xa9😀z<'", "$'***'");
    gives("C:\\dir\\unknown \\ud83d\\n \\u12", "C:\\dir\\unknown \\ud83d\\n \\u12");
}

static void masks_base64_in_all_alignments(void **state)
{
    (void)state;
    mask("correct?horse>battery~~staple");
    gives("Y29ycmVjdD9ob3JzZT5iYXR0ZXJ5fn5zdGFwbGU=", "***U=");
    gives("Y29ycmVjdD9ob3JzZT5iYXR0ZXJ5fn5zdGFwbGU", "***U");
    gives("OmNvcnJlY3Q_aG9yc2U-YmF0dGVyeX5-c3RhcGxl", "Om***");
    gives("OmNvcnJlY3Q/aG9yc2U+YmF0dGVyeX5+c3RhcGxl", "Om***");
    gives("YTpjb3JyZWN0P2hvcnNlPmJhdHRlcnl+fnN0YXBsZToxMg==", "YTp***ToxMg==");
    gives("OmNvcnJlY3Q%2FaG9yc2U%2BYmF0dGVyeX5%2Bc3RhcGxl", "Om***");
    gives("OmNvcnJlY3Q\\/aG9yc2U+YmF0dGVyeX5+c3RhcGxl", "Om***");
    gives("Y29ycmVjdD9ob3JzZT5i\n  YXR0ZXJ5fn5z\r\ndGFwbGU=", "***U=");
}

static void masks_lines_of_a_multi_line_value(void **state)
{
    (void)state;
    mask("-----BEGIN-----\n  MIIBVgIBADANBg  \r\nab\nkqhkiG9w0BAQEF\n");
    gives("1 MIIBVgIBADANBg\n2 kqhkiG9w0BAQEF\n3 ab\n", "1 ***\n2 ***\n3 ab\n");
    gives("[-----BEGIN-----\\n  MIIBVgIBADANBg  \\r\\nab\\nkqhkiG9w0BAQEF\\n]", "[***]");
}

static void masks_the_password_of_a_url(void **state)
{
    (void)state;
    mask("postgresql+asyncpg://draft:s3cr%40t%2Fpw@db.example:5432/guru?ssl=require");
    gives("password s3cr%40t%2Fpw of draft", "password *** of draft");
    gives("password s3cr@t/pw of draft", "password *** of draft");
    gives("psql://draft:s3cr@t%2fpw@db.example", "psql://draft:***@db.example");
    mask("redis://:with/slash@cache:6379/0");
    gives("auth with/slash", "auth ***");
    mask("postgres://h/db?user=me&password=kept%20apart&x=1");
    gives("it is kept apart", "it is ***");
    mask("https://example.org/no@password:here");
    gives("no@password:here", "no@password:here");
}

static void leaves_short_values(void **state)
{
    (void)state;
    mask("dev");
    mask("");
    gives("dev developed", "dev developed");
    mask("stag");
    gives("stag staging", "*** ***ing");
}

static void masks_overlaps_together_and_the_longest(void **state)
{
    (void)state;
    mask("onetwo");
    mask("twothree");
    mask("wothreefour");
    gives("onetwothree", "***");
    gives("-onetwothreefour-", "-***-");
    gives("onetwothre", "***thre");
    gives("onetwoonetwo", "******");
}

static void holds_back_no_more_than_a_possible_beginning(void **state)
{
    (void)state;
    mask("QQabcdefgh");
    struct buf out;
    buf_init(&out);
    struct redactor *r = redactor_new(on_text, &out);
    redactor_feed(r, "text QQabcdef", 13);
    assert_string_equal(buf_text(&out), "text ");
    redactor_feed(r, "x", 1);
    assert_string_equal(buf_text(&out), "text QQabcdefx");
    redactor_feed(r, "QQabcdefgh", 10);
    assert_string_equal(buf_text(&out), "text QQabcdefx***");
    redactor_feed(r, "QQab", 4);
    redactor_flush(r);
    assert_string_equal(buf_text(&out), "text QQabcdefx***QQab");
    redactor_free(r);
    buf_fini(&out);
}

static void learns_secrets_while_it_runs(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out);
    struct redactor *r = redactor_new(on_text, &out);
    redactor_feed(r, "ZZlater ", 8);
    mask("ZZlater-one");
    redactor_feed(r, "ZZlater-", 8);
    mask("later-on"); /* what is held may begin the new one */
    redactor_feed(r, "oZZlater-one", 12);
    redactor_flush(r);
    assert_string_equal(buf_text(&out), "ZZlater ZZlater-o***");
    buf_reset(&out);
    redactor_feed(r, "ZZlater-", 8);
    mask("ater-zz");
    redactor_feed(r, "zz", 2);
    redactor_flush(r);
    assert_string_equal(buf_text(&out), "ZZl***");
    redactor_free(r);
    buf_fini(&out);
}

static void keeps_nothing_of_an_endless_match(void **state)
{
    (void)state;
    enum { LEN = 1 << 20 };
    mask("~~~~~~~~");
    char *text = mem_alloc(LEN + 1);
    memset(text, '~', LEN);
    char *result = redacted(text, LEN, 1000);
    assert_string_equal(result, "***");
    mem_free(result);
    mem_free(text);
}

/* Text and patterns over two letters overlap in every way; the reference marks all
 * matches. */
static void agrees_with_a_plain_search(void **state)
{
    (void)state;
    enum { PATTERNS = 6, TEXT = 60, ROUNDS = 3000 };
    char patterns[PATTERNS][9];
    srand(7);
    for (size_t i = 0; i < PATTERNS; i++) {
        size_t len = 4 + (size_t)rand() % 5;
        for (size_t k = 0; k < len; k++)
            patterns[i][k] = "{|"[rand() % 2];
        patterns[i][len] = '\0';
        mask(patterns[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        char text[TEXT + 1] = {0}, expected[3 * TEXT + 1] = {0};
        size_t reach[TEXT + 1] = {0}; /* where the longest match that starts here ends */
        for (size_t i = 0; i < TEXT; i++)
            text[i] = "{|{|{|{|."[rand() % 9];
        for (size_t i = 0; i < TEXT; i++)
            for (size_t k = 0; k < PATTERNS; k++)
                if (strncmp(text + i, patterns[k], strlen(patterns[k])) == 0 &&
                    i + strlen(patterns[k]) > reach[i])
                    reach[i] = i + strlen(patterns[k]);
        for (size_t i = 0; i < TEXT;) {
            if (!reach[i]) {
                strncat(expected, text + i++, 1);
                continue;
            }
            size_t end = reach[i];
            for (size_t k = i + 1; k < end; k++)
                if (reach[k] > end)
                    end = reach[k];
            memcpy(expected + strlen(expected), "***", 4);
            i = end;
        }
        char *result = redacted(text, TEXT, 1 + (size_t)rand() % TEXT);
        assert_string_equal(result, expected);
        mem_free(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_the_value_as_it_stands),
        cmocka_unit_test(masks_url_encoded_forms),
        cmocka_unit_test(masks_escaped_forms),
        cmocka_unit_test(masks_html_escaped_forms),
        cmocka_unit_test(masks_what_ends_like_an_escape),
        cmocka_unit_test(masks_hexadecimal_digits),
        cmocka_unit_test(masks_what_was_encoded_twice),
        cmocka_unit_test(masks_base64_in_all_alignments),
        cmocka_unit_test(masks_lines_of_a_multi_line_value),
        cmocka_unit_test(masks_the_password_of_a_url),
        cmocka_unit_test(leaves_short_values),
        cmocka_unit_test(masks_overlaps_together_and_the_longest),
        cmocka_unit_test(holds_back_no_more_than_a_possible_beginning),
        cmocka_unit_test(learns_secrets_while_it_runs),
        cmocka_unit_test(keeps_nothing_of_an_endless_match),
        cmocka_unit_test(agrees_with_a_plain_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
