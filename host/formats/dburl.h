#pragma once
/* Database URLs as SQLAlchemy reads them:
   postgresql+asyncpg://user:p%40ss@host:5432/db?ssl=require, postgres://…,
   sqlite+aiosqlite:///relative.db, sqlite:////absolute.db. */
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

struct dburl_option {
    char *name;
    char *value;
};

struct dburl {
    char *dialect;  /* "postgresql" or "sqlite" */
    char *driver;   /* "asyncpg"; NULL: none is named */
    char *user;     /* user and password are decoded; NULL: not given, as all below */
    char *password; /* wiped by dburl_fini */
    char *host;     /* without the brackets of an IPv6 address */
    int port;       /* 0: not given */
    char *database;
    char *path; /* of SQLite: a file, or ":memory:" */
    struct dburl_option *options;
    size_t option_count;
};

/* NULL, or dburl.invalid or dburl.unsupported; no message quotes the URL. dburl_fini in
 * either case. */
struct err *dburl_parse(const char *text, size_t len, struct dburl *url);
void dburl_fini(struct dburl *url);

/* The URL for libpq: without the driver, asyncpg's `ssl` as `sslmode`, and without the
   parameters libpq does not know. */
void dburl_libpq(const struct dburl *url, struct buf *out);
