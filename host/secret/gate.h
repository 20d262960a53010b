#pragma once
/* The gate of plan mode. Once closed it stays closed: http refuses all but GET and HEAD,
   fly.graphql refuses mutations, proc refuses what is not declared read_only, databases
   are opened read-only, and files are written only below the folders opened with
   gate_allow. */
#include <lua.h>
#include <stdbool.h>

#include "base/err.h"

void gate_close(void);
bool gate_closed(void);
void gate_allow(const char *directory); /* absolute; a temp folder of the run */
bool gate_may_write(const char *path);  /* true when open, or below an allowed folder */

/* The error of a refused write: code "plan.write_refused". */
struct err *gate_refusal(const char *op, const char *what);
