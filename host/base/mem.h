#pragma once
/* Memory that cannot fail: when there is none left the process ends with one
   line on stderr, so that no caller half-handles it. */
#include <stddef.h>

void *mem_alloc(size_t size);               /* zeroed */
void *mem_array(size_t count, size_t size); /* zeroed; overflow is checked */
void *mem_resize(void *p, size_t size);
char *mem_string(const char *text);           /* a copy; NULL gives NULL */
char *mem_copy(const void *data, size_t len); /* a copy with a NUL byte behind it */
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *p);
void mem_wipe(void *p, size_t len); /* zeroes; the compiler cannot drop it */
/* Zeroes the stack below the caller: a signal that comes right after a copy saves the
   vector registers there, and with them a piece of what was copied. Last thing of a
   function that copied secrets. */
void mem_wipe_stack(void);
