#pragma once
/* Text from elsewhere, made fit for a message or a field that is printed later. */
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* The length of the UTF-8 sequence at `bytes`, and its code point; 0 where the bytes are
   not UTF-8. `len` is at least 1. */
size_t text_char(const char *bytes, size_t len, uint32_t *point);

/* Appends valid UTF-8 without control characters: each of those becomes a space, each
   byte that is not UTF-8 becomes '?'. */
void text_clean(struct buf *out, const char *bytes, size_t len);

/* Appends the last `count` lines of what a program said, cleaned and joined by "; ",
   without its hints, and with what stands between :// and @ (a password) masked. */
void text_last_lines(struct buf *out, const char *bytes, size_t len, size_t count);
