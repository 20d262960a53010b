#pragma once
/* The words of Python source, as far as assignments of plain values need them; nothing is
   evaluated. https://docs.python.org/3.11/reference/lexical_analysis.html */
#include <stdbool.h>

#include "base/buf.h"

enum python_kind {
    PYTHON_END,
    PYTHON_NEWLINE,
    PYTHON_NAME,
    PYTHON_STRING,
    PYTHON_SIGN,
    PYTHON_UNREADABLE,
};

struct python {
    const char *at, *end;
    unsigned line;
    unsigned depth; /* of brackets: newlines inside do not end a statement */
    /* the current word */
    enum python_kind kind;
    const char *start;
    size_t len;
    unsigned word_line;
    bool at_margin;  /* the first of its line, not indented */
    struct buf text; /* of a PYTHON_STRING */
};

/* The text must outlive it. No word is current before the first python_next. */
void python_init(struct python *p, const char *text, size_t len);
void python_fini(struct python *p);

void python_next(struct python *p);

/* To the end of the statement. The bodies of functions are most of a file, so nothing is
   kept of what is passed. */
void python_skip_statement(struct python *p);

bool python_is_sign(const struct python *p, char sign);
bool python_is_name(const struct python *p, const char *name);
