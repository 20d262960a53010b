/* No parser: strings and comments are skipped, brackets are counted, and only words
   outside of all brackets are looked at. There a word is the keyword of a definition, or
   names one; only the first after a closing brace, or at the start, is the keyword. A
   document without a keyword is a query. Any doubt counts as a write, which a plan
   refuses. */
#include "http/graphql.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

/* The next character after a string, "…" or """…""", whose first quote is at `at`; NULL
   when it does not end. */
static const char *skip_string(const char *at)
{
    if (strncmp(at, "\"\"\"", 3) == 0) {
        for (at += 3; *at; at++) {
            if (strncmp(at, "\\\"\"\"", 4) == 0)
                at += 3;
            else if (strncmp(at, "\"\"\"", 3) == 0)
                return at + 3;
        }
        return NULL;
    }
    for (at++; *at && *at != '\n'; at++) {
        if (*at == '\\' && at[1])
            at++;
        else if (*at == '"')
            return at + 1;
    }
    return NULL;
}

static bool is_word(const char *start, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(start, word, len) == 0;
}

bool graphql_is_query(const char *document)
{
    int depth = 0;
    bool expect_keyword = true;
    bool any = false;
    for (const char *at = document; at && *at;) {
        if (*at == '#') {
            at += strcspn(at, "\r\n");
        } else if (*at == '"') {
            at = skip_string(at);
            if (!at)
                return false;
        } else if (strchr("{(", *at)) {
            if (*at == '{' && depth == 0) {
                any = true;
                expect_keyword = false;
            }
            depth++;
            at++;
        } else if (strchr("})", *at)) {
            if (--depth < 0)
                return false;
            if (*at == '}' && depth == 0)
                expect_keyword = true;
            at++;
        } else if (isalpha((unsigned char)*at) || *at == '_') {
            size_t len = 1;
            while (isalnum((unsigned char)at[len]) || at[len] == '_')
                len++;
            if (depth == 0 && expect_keyword) {
                if (!is_word(at, len, "query") && !is_word(at, len, "fragment"))
                    return false;
                expect_keyword = false;
            }
            at += len;
        } else {
            at++;
        }
    }
    return any && depth == 0;
}
