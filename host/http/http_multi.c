/* After curl's docs/examples/multi-uv.c, with what it leaves out: socket and timer
   callbacks only record; one function makes the socket action and drains the messages;
   nothing is polled anew while closing.
   https://curl.se/libcurl/c/curl_multi_socket_action.html */
#include "http/http_multi.h"

#include "base/mem.h"

struct multi {
    CURLM *handle;
    uv_timer_t timer;
    uv_loop_t *loop;
    void (*done)(void *private, CURLcode result);
    unsigned running;
    bool closing;
};

struct watch {
    uv_poll_t poll;
    struct multi *multi;
    curl_socket_t socket;
};

static void act(struct multi *m, curl_socket_t socket, int events)
{
    int running = 0;
    curl_multi_socket_action(m->handle, socket, events, &running);
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(m->handle, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURL *easy = message->easy_handle;
        CURLcode result = message->data.result;
        void *private = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        multi_remove(m, easy);
        m->done(private, result);
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    int flags = 0;
    if (status < 0)
        flags = CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(w->multi, w->socket, flags);
}

static void on_timeout(uv_timer_t *timer) { act(timer->data, CURL_SOCKET_TIMEOUT, 0); }

static int on_timer(CURLM *handle, long milliseconds, void *data)
{
    (void)handle;
    struct multi *m = data;
    if (milliseconds < 0 || m->closing)
        uv_timer_stop(&m->timer);
    else
        uv_timer_start(&m->timer, on_timeout, (uint64_t)milliseconds, 0);
    return 0;
}

static void on_watch_closed(uv_handle_t *handle) { mem_free(handle->data); }

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *data,
                     void *per_socket)
{
    (void)easy;
    struct multi *m = data;
    struct watch *w = per_socket;
    if (what == CURL_POLL_REMOVE) {
        if (!w)
            return 0;
        curl_multi_assign(m->handle, socket, NULL);
        uv_poll_stop(&w->poll);
        uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        return 0;
    }
    if (m->closing)
        return 0;
    if (!w) {
        w = mem_alloc(sizeof *w);
        w->multi = m;
        w->socket = socket;
        if (uv_poll_init_socket(m->loop, &w->poll, socket) != 0) {
            mem_free(w);
            return -1;
        }
        w->poll.data = w;
        curl_multi_assign(m->handle, socket, w);
    }
    int events = 0;
    if (what != CURL_POLL_OUT)
        events |= UV_READABLE;
    if (what != CURL_POLL_IN)
        events |= UV_WRITABLE;
    return uv_poll_start(&w->poll, events, on_poll) == 0 ? 0 : -1;
}

struct multi *multi_open(uv_loop_t *loop, void (*done)(void *private, CURLcode result))
{
    CURLM *handle = curl_multi_init();
    if (!handle)
        return NULL;
    struct multi *m = mem_alloc(sizeof *m);
    m->handle = handle;
    m->loop = loop;
    m->done = done;
    uv_timer_init(loop, &m->timer);
    m->timer.data = m;
    uv_unref((uv_handle_t *)&m->timer);
    curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(handle, CURLMOPT_SOCKETDATA, m);
    curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(handle, CURLMOPT_TIMERDATA, m);
    return m;
}

/* The timer counts as work only while a transfer runs. */
static void count(struct multi *m, int change)
{
    m->running = (unsigned)((int)m->running + change);
    if (m->running)
        uv_ref((uv_handle_t *)&m->timer);
    else
        uv_unref((uv_handle_t *)&m->timer);
}

bool multi_add(struct multi *m, CURL *easy)
{
    if (m->closing || curl_multi_add_handle(m->handle, easy) != CURLM_OK)
        return false;
    count(m, 1);
    return true;
}

void multi_remove(struct multi *m, CURL *easy)
{
    curl_multi_remove_handle(m->handle, easy);
    count(m, -1);
}

static void on_closed(uv_handle_t *handle) { mem_free(handle->data); }

void multi_close(struct multi *m)
{
    m->closing = true;
    curl_multi_cleanup(m->handle);
    uv_close((uv_handle_t *)&m->timer, on_closed);
}
