#pragma once
/* HTTP transfers of libcurl on the loop. One multi handle a state: connections are kept
   alive, HTTP/2 is used where it is offered, TLS is always verified.

   A transfer is started with http_start. It has at most one waiter; what the waiter waits
   for (the end, the headers, the next bytes) is asked for with http_wait. */
#include <curl/curl.h>
#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "secret/secret.h"

struct http;     /* the multi handle of a state */
struct transfer; /* one request and its answer */

struct http_spec {
    const char *op; /* for messages: "http.request" */
    const char *method;
    const char *url;
    struct curl_slist *headers; /* taken over, wiped when freed */
    const char *body;           /* copied, unless it belongs to `sealed_body` */
    size_t body_len;
    struct secret *sealed_body; /* a reference is taken */
    const char *body_file;
    const char *ca_file;
    const char *user_agent;
    CURLSH *share;  /* cookies of a session, or NULL */
    double timeout; /* seconds for the whole transfer; 0 is none */
    double connect_timeout;
    long long limit; /* bytes of the answer's body */
    bool follow;
    bool sealed; /* a header or the body holds a secret: it stays with the first origin */
    bool streaming; /* the body is read in pieces; reading pauses when much is unread */
    bool read_only; /* passes the plan's gate with any method: a query sent by POST */
    bool connect_only; /* ends when the connection is there; nothing is sent */
};

enum http_event { HTTP_END, HTTP_HEADERS, HTTP_BYTES };

struct http *http_of(lua_State *L);

/* NULL and *error when it cannot start. The headers are taken over in any case. */
struct transfer *http_start(struct http *h, const struct http_spec *spec,
                            struct err **error);

/* The last line of a binding: waits for an event. With HTTP_END the results are the
   answer's table or nil, err, and the transfer is freed after it. `push` gives the
   results otherwise. */
int http_wait(lua_State *L, struct transfer *t, enum http_event event,
              int (*push)(struct transfer *t, lua_State *L));

/* Ends it if it runs, and frees it. */
void http_free(struct transfer *t);

/* `slot` holds the only pointer to it, and becomes NULL when it is freed: for a Lua box
   that may outlive the multi handle. */
void http_own(struct transfer *t, struct transfer **slot);

/* The error of a transfer that failed, or NULL. */
struct err *http_error(const struct transfer *t);
long http_status(const struct transfer *t);
void http_push_headers(const struct transfer *t, lua_State *L); /* names in lower case */
void http_take_body(struct transfer *t, lua_State *L);          /* what came so far */
size_t http_unread(const struct transfer *t);
void http_push_answer(struct transfer *t, lua_State *L); /* {status, headers, body, …} */
void http_push_connection(const struct transfer *t,
                          lua_State *L); /* {address, seconds} */

/* Adds "name: value"; false when a character would end the line. */
bool http_add_header(struct curl_slist **list, const char *name, const char *value,
                     size_t len);
void http_free_headers(struct curl_slist *list);
