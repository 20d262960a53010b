#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *p)
{
    if (!p) {
        fputs("dgrun: out of memory\n", stderr);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size) { return checked(calloc(1, size ? size : 1)); }

void *mem_array(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_resize(void *p, size_t size) { return checked(realloc(p, size ? size : 1)); }

char *mem_string(const char *text) { return text ? mem_copy(text, strlen(text)) : NULL; }

char *mem_copy(const void *data, size_t len)
{
    if (len == SIZE_MAX)
        checked(NULL);
    char *copy = mem_alloc(len + 1);
    if (len)
        memcpy(copy, data, len);
    return copy;
}

char *mem_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return checked(text);
}

void mem_free(void *p) { free(p); }

void mem_wipe(void *p, size_t len)
{
    if (p)
        explicit_bzero(p, len);
}

__attribute__((noinline)) void mem_wipe_stack(void)
{
    char below[64 * 1024];
    mem_wipe(below, sizeof below);
}
