#pragma once
/* Text from elsewhere, made fit for a message or a field that is printed later. */
#include <stddef.h>

#include "base/buf.h"

/* Appends valid UTF-8 without control characters: each of those becomes a space, each
   byte that is not UTF-8 becomes '?'. */
void text_clean(struct buf *out, const char *bytes, size_t len);

/* Appends the last `count` lines of what a program said, cleaned and joined by "; ",
   without its hints, and with what stands between :// and @ (a password) masked. */
void text_last_lines(struct buf *out, const char *bytes, size_t len, size_t count);
