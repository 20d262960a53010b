/* How every git command is run, and what its failures mean. */
#include "git/git_command.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/text.h"
#include "secret/gate.h"

/* Set by git for its hooks: a run started from one would work on the wrong repository. */
static const char *const inherited[] = {
    "GIT_DIR",           "GIT_WORK_TREE",        "GIT_INDEX_FILE",
    "GIT_PREFIX",        "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",    "GIT_NAMESPACE",        "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",  "GIT_GLOB_PATHSPECS",   "GIT_ICASE_PATHSPECS",
    "GIT_EXTERNAL_DIFF",
};

static const struct {
    const char *name;
    const char *value;
} environment[] = {
    {"LC_ALL", "C"},
    {"GIT_TERMINAL_PROMPT", "0"},
    {"GIT_ASKPASS", "true"},
    {"SSH_ASKPASS", "true"},
    {"SSH_ASKPASS_REQUIRE", "never"},
    {"GCM_INTERACTIVE", "never"},
    {"GIT_OPTIONAL_LOCKS", "0"},
    {"GIT_EDITOR", "false"},
    {"GIT_PAGER", "cat"},
    /* Before the configuration's trace2.normalTarget and the like. */
    {"GIT_TRACE2", "0"},
    {"GIT_TRACE2_EVENT", "0"},
    {"GIT_TRACE2_PERF", "0"},
};

static const char *const configuration[] = {
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "core.askPass=true",
    "credential.interactive=never",
    "submodule.recurse=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "color.ui=false",
    "log.showSignature=false",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
};

/* A trace is written to the file that the variable names. */
static void unset_traces(struct proc_setup *s)
{
    for (char *const *entry = environ; *entry; entry++) {
        if (strncmp(*entry, "GIT_TRACE", strlen("GIT_TRACE")) != 0)
            continue;
        char *name = mem_copy(*entry, strcspn(*entry, "="));
        proc_env_unset(s, name);
        mem_free(name);
    }
}

/* The names of filters that the process has seen. */
static struct {
    bool known;
    char **names;
    size_t count;
} filters;

void git_filter_add(const char *name, size_t len)
{
    for (size_t i = 0; i < filters.count; i++)
        if (strlen(filters.names[i]) == len && memcmp(filters.names[i], name, len) == 0)
            return;
    filters.names =
        mem_resize(filters.names, (filters.count + 1) * sizeof *filters.names);
    filters.names[filters.count++] = mem_copy(name, len);
}

void git_filters_known(void) { filters.known = true; }

struct err *git_filters_refusal(const char *op, const char *what)
{
    return gate_closed() && !filters.known ? gate_refusal(op, what) : NULL;
}

static void turn_filters_off(struct proc_setup *s)
{
    static const char *const settings[] = {
        "clean=", "smudge=", "process=", "required=false"};
    for (size_t i = 0; i < filters.count; i++) {
        for (size_t j = 0; j < sizeof settings / sizeof *settings; j++) {
            char *setting = mem_format("filter.%s.%s", filters.names[i], settings[j]);
            proc_arg(s, "-c");
            proc_arg(s, setting);
            mem_free(setting);
        }
    }
}

struct git_call *git_call_new(const char *op, const char *dir, bool read_only,
                              git_parser parse)
{
    struct git_call *c = mem_alloc(sizeof *c);
    struct proc_setup *s = proc_setup_new(op);
    c->op = op;
    c->parse = parse;
    c->dir = mem_string(dir);
    c->setup = s;
    s->read_only = read_only;
    s->limit = (size_t)64 << 20;
    for (size_t i = 0; i < sizeof inherited / sizeof *inherited; i++)
        proc_env_unset(s, inherited[i]);
    unset_traces(s);
    for (size_t i = 0; i < sizeof environment / sizeof *environment; i++)
        proc_env(s, environment[i].name, environment[i].value);
    proc_arg(s, "git");
    proc_arg(s, "-C");
    proc_arg(s, dir);
    proc_arg(s, "--no-pager");
    proc_arg(s, "--literal-pathspecs");
    for (size_t i = 0; i < sizeof configuration / sizeof *configuration; i++) {
        proc_arg(s, "-c");
        proc_arg(s, configuration[i]);
    }
    if (gate_closed())
        turn_filters_off(s);
    return c;
}

/* What stands first on ssh's command line wins, so the user's own options stay. */
void git_call_ssh(struct git_call *c, const char *command)
{
    if (!command)
        command = getenv("GIT_SSH_COMMAND");
    if (!command && getenv("GIT_SSH"))
        return; /* a program of the user's own: the child has no terminal, which must do
                 */
    char *batch =
        mem_format("%s -o BatchMode=yes", command && *command ? command : "ssh");
    proc_env(c->setup, "GIT_SSH_COMMAND", batch);
    mem_free(batch);
}

static void git_call_free(void *data)
{
    struct git_call *c = data;
    mem_free(c->dir);
    mem_free(c->subject);
    mem_free(c->remote);
    mem_free(c);
}

static int on_result(lua_State *L, const struct proc_result *r, void *data)
{
    const struct git_call *c = data;
    if (r->signal || r->status > c->max_status)
        return err_return(L, git_error(r, c));
    return c->parse(L, r, c);
}

int git_wait(lua_State *L, struct git_call *c)
{
    struct proc_setup *s = c->setup;
    c->setup = NULL;
    return proc_run_wait(L, s, on_result, c, git_call_free);
}

static const char *why_bad(const char *ref, size_t len)
{
    if (len == 0)
        return "it is empty";
    if (*ref == '-')
        return "it starts with '-'";
    if (len > 1024)
        return "it is too long";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)ref[i] < 0x20 || ref[i] == 0x7f)
            return "it contains a control character";
    if (strstr(ref, ".."))
        return "it contains '..': one commit is needed, not a range";
    if (strpbrk(ref, " :?*[\\"))
        return "it contains one of the characters space : ? * [ \\";
    return NULL;
}

struct err *git_bad_ref(const char *op, const char *ref, size_t len)
{
    const char *why = why_bad(ref, len);
    if (!why)
        return NULL;
    struct buf shown;
    buf_init(&shown);
    text_clean(&shown, ref, len < 80 ? len : 80);
    struct err *e = err_new("git.invalid_ref", op, "%s: '%s' cannot be a git ref: %s", op,
                            buf_text(&shown), why);
    err_hint(e, "Give a commit SHA, a tag or a branch, such as main or v1.4.0.");
    buf_fini(&shown);
    return e;
}

/* What git says in English, in the order in which it is looked for. */
static const struct {
    const char *text;
    const char *code;
    const char *hint;
} meanings[] = {
    {"dubious ownership", "git.not_owned",
     "the repository belongs to another user; if you trust it: git config --global --add "
     "safe.directory FOLDER"},
    {"not a git repository", "git.not_a_repository",
     "run it inside of a clone, or name one"},
    {"cannot change to", "git.not_a_repository", NULL},
    {"could not read Username", "git.auth_failed", NULL},
    {"could not read Password", "git.auth_failed", NULL},
    {"Authentication failed", "git.auth_failed", NULL},
    {"unable to get password", "git.auth_failed", NULL},
    {"Permission denied (", "git.auth_failed", NULL},
    {"Host key verification failed", "git.auth_failed",
     "add the host's key to ~/.ssh/known_hosts after comparing it (ssh-keyscan HOST)"},
    {"returned error: 401", "git.auth_failed", NULL},
    {"returned error: 403", "git.auth_failed", NULL},
    {"Access denied", "git.auth_failed", NULL},
    {"couldn't find remote ref", "git.unknown_ref", NULL},
    {"src refspec", "git.unknown_ref", NULL},
    {"is ambiguous", "git.ambiguous_ref", NULL},
    {"bad revision", "git.unknown_ref", NULL},
    {"unknown revision", "git.unknown_ref", NULL},
    {"ot a valid commit name", "git.unknown_ref", NULL},
    {"ot a valid object name", "git.unknown_ref", NULL},
    {"ot a valid ref", "git.unknown_ref", NULL},
    {"bad object", "git.unknown_ref", NULL},
    {"is not a valid tag name", "git.invalid_ref", NULL},
    {"Failed to resolve", "git.unknown_ref", NULL},
    {"Could not resolve host", "git.remote_unreachable", NULL},
    {"unable to access", "git.remote_unreachable", NULL},
    {"unable to connect", "git.remote_unreachable", NULL},
    {"does not appear to be a git repository", "git.remote_unreachable",
     "'git remote -v' lists the remotes that are known"},
    {"Could not read from remote", "git.remote_unreachable", NULL},
    {"Repository not found", "git.remote_unreachable", NULL},
    {"repository '", "git.remote_unreachable", NULL},
    {"early EOF", "git.remote_unreachable", NULL},
    {"hung up unexpectedly", "git.remote_unreachable", NULL},
    {".lock': File exists", "git.locked",
     "another git command works on the repository, or one was killed and left its lock "
     "file"},
    {"tell me who you are", "git.no_identity",
     "git config user.name NAME; git config user.email ADDRESS"},
    {"auto-detect email address", "git.no_identity",
     "git config user.name NAME; git config user.email ADDRESS"},
};

struct err *git_error(const struct proc_result *r, const struct git_call *c)
{
    const char *said = buf_text(&r->err);
    const char *code = "git.failed";
    const char *hint = NULL;
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++) {
        if (strstr(said, meanings[i].text)) {
            code = meanings[i].code;
            hint = meanings[i].hint;
            break;
        }
    }
    if (strcmp(c->op, "git.tag") == 0 && strstr(said, "already exists"))
        code = "git.tag_exists";
    if (!hint && strcmp(code, "git.auth_failed") == 0)
        hint =
            "git cannot ask for a password here: use an ssh key without a passphrase, an "
            "agent, or a credential helper";
    struct buf last;
    buf_init(&last);
    text_last_lines(&last, said, r->err.len, 6);
    struct err *e = err_new(code, c->op, "%s%s%s in %s: %s", c->op, c->subject ? " " : "",
                            c->subject ? c->subject : "", c->dir,
                            last.len > 0 ? buf_text(&last) : "git said nothing");
    if (hint)
        err_hint(e, "%s", hint);
    err_field_int(e, "status", r->status);
    buf_fini(&last);
    return e;
}

const char *git_ref_option(lua_State *L, const char *op, const char *name)
{
    const char *ref = opt_string(L, 1, name, NULL);
    struct err *e = git_bad_ref(op, ref, strlen(ref));
    if (!e)
        return ref;
    err_return(L, e);
    return NULL;
}

void git_check_remote(lua_State *L, const char *op)
{
    const char *remote = opt_string(L, 1, "remote", "");
    bool bad = *remote == '\0' || *remote == '-';
    for (const char *c = remote; *c; c++)
        bad = bad || (unsigned char)*c <= 0x20;
    if (bad)
        err_argument(L, op, "'remote' must be the name or URL of a remote");
}

struct git_call *git_call_common(lua_State *L, const char *op, bool read_only,
                                 git_parser parse)
{
    struct git_call *c =
        git_call_new(op, opt_string(L, 1, "dir", NULL), read_only, parse);
    c->setup->timeout = opt_seconds(L, 1, "timeout", 0);
    return c;
}

void git_args(struct git_call *c, const char *const *list)
{
    for (; *list; list++)
        proc_arg(c->setup, *list);
}

void git_call_input(struct git_call *c, struct buf *text)
{
    c->setup->input = PROC_INPUT_BYTES;
    c->setup->bytes = mem_copy(buf_text(text), text->len);
    c->setup->byte_count = text->len;
}
