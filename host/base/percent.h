#pragma once
/* Percent-encoding, as in URLs. */
#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* Appends the decoded bytes; with `form`, '+' is a space. What is no escape stands for
 * itself. */
void percent_decode(struct buf *out, const char *text, size_t len, bool form);

/* Appends the text with all but letters, digits and "-._~" encoded. */
void percent_encode(struct buf *out, const char *text, size_t len);
