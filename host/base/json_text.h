#pragma once
/* JSON written: a string literal. json_walk.h reads. */
#include <stddef.h>

#include "base/buf.h"

/* Appends the bytes as a JSON string, quotes included. */
void json_add_string(struct buf *out, const char *bytes, size_t len);
