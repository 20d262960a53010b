#pragma once
/* What leaves the process as text: standard output (the result) and standard error (the
   log), both through the redactor. */
#include <stdbool.h>
#include <stddef.h>

enum log_stream { LOG_OUT = 1, LOG_ERR = 2 };

void log_write(enum log_stream stream, const char *bytes, size_t len);
/* Everything is out after this but what may begin a secret: that leaves when its next
   bytes tell, or at the end. */
void log_flush(void);
bool log_broken(enum log_stream stream); /* its reader is gone: writes are dropped */

/* At the end of the program; exit() does it too. */
void log_close(void);

/* The debug log: one line a lifecycle edge, "key=value …", on stderr when DGRUN_DEBUG is
 * set. */
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
