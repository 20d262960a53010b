#pragma once
/* libcurl's multi interface on the loop: sockets and timers, nothing about requests. */
#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

struct multi;

/* `done` is called for each transfer that ended, after it was removed from the multi
   handle; `private` is the easy handle's CURLOPT_PRIVATE. */
struct multi *multi_open(uv_loop_t *loop, void (*done)(void *private, CURLcode result));
bool multi_add(struct multi *m, CURL *easy);
void multi_remove(struct multi *m, CURL *easy);
void multi_close(struct multi *m); /* frees itself when its handles are closed */
