#pragma once
/* Reads as much of a GraphQL document as is needed to tell queries from writes. */
#include <stdbool.h>

/* True when every operation in it is a query. Anything it cannot read is not one. */
bool graphql_is_query(const char *document);
