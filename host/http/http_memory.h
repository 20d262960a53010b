#pragma once
/* What libcurl allocates holds bodies, headers and URLs with secrets in them: it is wiped
   before it is given back. */
#include <curl/curl.h>

/* Instead of curl_global_init. */
CURLcode http_memory_init(void);
