#pragma once
/* Text from elsewhere, made harmless for a terminal: without escape sequences, C0 (but
   newline and tab), DEL, C1 and bidirectional controls; bytes that are not UTF-8 become
   U+FFFD. */
#include <stddef.h>

#include "base/buf.h"

void log_clean(const char *text, size_t len, struct buf *out);
