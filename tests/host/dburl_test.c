/* Database URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "formats/dburl.h"

static void same(const char *actual, const char *expected)
{
    if (!expected)
        assert_null(actual);
    else if (!actual)
        fail_msg("nothing instead of %s", expected);
    else
        assert_string_equal(actual, expected);
}

static void reads(const char *text, const char *driver, const char *user,
                  const char *password, const char *host, int port, const char *database)
{
    struct dburl url;
    struct err *e = dburl_parse(text, strlen(text), &url);
    if (e)
        fail_msg("%s: %s", text, err_msg(e));
    same(url.dialect, "postgresql");
    same(url.driver, driver);
    same(url.user, user);
    same(url.password, password);
    same(url.host, host);
    assert_int_equal(url.port, port);
    same(url.database, database);
    same(url.path, NULL);
    dburl_fini(&url);
}

static void reads_postgresql(void **state)
{
    (void)state;
    reads("postgresql+asyncpg://u:p%40ss@db.example:5432/guru?ssl=require", "asyncpg",
          "u", "p@ss", "db.example", 5432, "guru");
    reads("postgres://localhost", NULL, NULL, NULL, "localhost", 0, NULL);
    reads("postgres://", NULL, NULL, NULL, NULL, 0, NULL);
    reads("postgresql:///guru?host=/run/pg", NULL, NULL, NULL, NULL, 0, "guru");
    reads("postgresql://u@h/d", NULL, "u", NULL, "h", 0, "d");
    reads("postgresql://u@h:1/d?a=b@c", NULL, "u", NULL, "h", 1, "d");
    reads("postgresql://u:@h/", NULL, "u", "", "h", 0, NULL);
    reads("postgresql://u:a/b:c?d#e@h/d", NULL, "u", "a/b:c?d#e", "h", 0, "d");
    reads("postgresql://u:%C3%A9%zz%@[::1]:6543/d\n", NULL, "u", "é%zz%", "::1", 6543,
          "d");
}

static void reads_path(const char *text, const char *path)
{
    struct dburl url;
    struct err *e = dburl_parse(text, strlen(text), &url);
    if (e)
        fail_msg("%s: %s", text, err_msg(e));
    same(url.dialect, "sqlite");
    same(url.path, path);
    dburl_fini(&url);
}

static void reads_sqlite(void **state)
{
    (void)state;
    reads_path("sqlite+aiosqlite:///rel.db", "rel.db");
    reads_path("sqlite:///./data/rel.db?mode=ro", "./data/rel.db");
    reads_path("sqlite:////var/lib/abs.db", "/var/lib/abs.db");
    reads_path("sqlite://", ":memory:");
    reads_path("sqlite:///:memory:", ":memory:");
}

static void fails(const char *text, const char *code)
{
    struct dburl url;
    struct err *e = dburl_parse(text, strlen(text), &url);
    dburl_fini(&url);
    if (!e)
        fail_msg("accepted: %s", text);
    assert_string_equal(err_code(e), code);
    assert_null(strstr(err_msg(e), "hunter2"));
    err_free(e);
}

static void refuses_what_it_cannot_read(void **state)
{
    (void)state;
    fails("", "dburl.invalid");
    fails("host=db password=hunter2", "dburl.invalid");
    fails("://x", "dburl.invalid");
    fails("hunter2 postgres://x", "dburl.invalid");
    fails("mysql://u:hunter2@h/d", "dburl.unsupported");
    fails("postgresql://u:hunter2@h:port/d", "dburl.invalid");
    fails("postgresql://u:hunter2@h:99999/d", "dburl.invalid");
    fails("postgresql://u:hunter2@[::1/d", "dburl.invalid");
    fails("postgresql://u:hunter2@[::1]x/d", "dburl.invalid");
    fails("postgresql://u:hunter2\n@h/d", "dburl.invalid");
    fails("sqlite://rel.db", "dburl.invalid");
}

static void translates(const char *text, const char *expected)
{
    struct dburl url;
    struct buf out;
    buf_init(&out);
    assert_null(dburl_parse(text, strlen(text), &url));
    dburl_libpq(&url, &out);
    assert_string_equal(buf_text(&out), expected);
    buf_fini(&out);
    dburl_fini(&url);
}

static void writes_what_libpq_reads(void **state)
{
    (void)state;
    translates("postgresql+asyncpg://u:p%40s+s@h:5432/guru?ssl=require",
               "postgresql://u:p%40s%2Bs@h:5432/guru?sslmode=require");
    translates(
        "postgres://h/d?ssl=true&prepared_statement_cache_size=0&application_name=a+b",
        "postgresql://h/d?application_name=a%20b&sslmode=require");
    translates("postgres://h/d?sslmode=verify-full&ssl=disable&command_timeout=5",
               "postgresql://h/d?sslmode=verify-full");
    translates("postgresql+psycopg:///my db?host=/run/pg&port=6000",
               "postgresql:///my%20db?host=%2Frun%2Fpg&port=6000");
    translates("postgresql://u:a/b@[::1]:1/", "postgresql://u:a%2Fb@[::1]:1/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_postgresql),
        cmocka_unit_test(reads_sqlite),
        cmocka_unit_test(refuses_what_it_cannot_read),
        cmocka_unit_test(writes_what_libpq_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
