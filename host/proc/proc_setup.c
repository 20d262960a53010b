/* What a child is started with: arguments, and an environment that may hold sealed
   values. Those stay sealed until the one moment of the start. */
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "proc/proc.h"

struct proc_var {
    char *name;
    char *value; /* NULL and no secret: the name is removed */
    struct secret *secret;
};

struct proc_setup *proc_setup_new(const char *op)
{
    struct proc_setup *s = mem_alloc(sizeof *s);
    s->op = op;
    s->grace = 5;
    s->limit = (size_t)16 << 20;
    return s;
}

void proc_setup_free(struct proc_setup *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->argc; i++)
        mem_free(s->argv[i]);
    mem_free(s->argv);
    for (size_t i = 0; i < s->var_count; i++) {
        mem_free(s->vars[i].name);
        mem_free(s->vars[i].value);
        secret_unref(s->vars[i].secret);
    }
    mem_free(s->vars);
    mem_free(s->cwd);
    mem_free(s->bytes);
    secret_unref(s->secret);
    mem_free(s);
}

void proc_arg(struct proc_setup *s, const char *text)
{
    s->argv = mem_resize(s->argv, (s->argc + 2) * sizeof *s->argv);
    s->argv[s->argc++] = mem_string(text);
    s->argv[s->argc] = NULL;
}

/* The entry of a name, emptied: a new one when the name is not changed yet. */
static struct proc_var *var_for(struct proc_setup *s, const char *name)
{
    for (size_t i = 0; i < s->var_count; i++) {
        struct proc_var *v = &s->vars[i];
        if (strcmp(v->name, name) == 0) {
            mem_free(v->value);
            secret_unref(v->secret);
            v->value = NULL;
            v->secret = NULL;
            return v;
        }
    }
    s->vars = mem_resize(s->vars, (s->var_count + 1) * sizeof *s->vars);
    struct proc_var *v = &s->vars[s->var_count++];
    *v = (struct proc_var){.name = mem_string(name)};
    return v;
}

void proc_env(struct proc_setup *s, const char *name, const char *value)
{
    var_for(s, name)->value = mem_string(value);
}

void proc_env_secret(struct proc_setup *s, const char *name, struct secret *value)
{
    var_for(s, name)->secret = secret_ref(value);
}

void proc_env_unset(struct proc_setup *s, const char *name) { var_for(s, name); }

static bool changed(const struct proc_setup *s, const char *entry)
{
    const char *equals = strchr(entry, '=');
    size_t len = equals ? (size_t)(equals - entry) : strlen(entry);
    for (size_t i = 0; i < s->var_count; i++)
        if (strlen(s->vars[i].name) == len && memcmp(s->vars[i].name, entry, len) == 0)
            return true;
    return false;
}

static char *entry_new(const struct proc_var *v)
{
    size_t name_len = strlen(v->name);
    size_t len = 0;
    const char *value = v->value;
    if (v->secret)
        value = secret_open(v->secret, &len);
    else
        len = strlen(value);
    char *entry = mem_alloc(name_len + 1 + len + 1);
    memcpy(entry, v->name, name_len);
    entry[name_len] = '=';
    if (len > 0)
        memcpy(entry + name_len + 1, value, len);
    return entry;
}

char **proc_environment(const struct proc_setup *s)
{
    size_t inherited = 0;
    if (!s->clean_env)
        while (environ && environ[inherited])
            inherited++;
    char **list = mem_array(inherited + s->var_count + 1, sizeof *list);
    size_t n = 0;
    for (size_t i = 0; i < inherited; i++)
        if (!changed(s, environ[i]))
            list[n++] = mem_string(environ[i]);
    for (size_t i = 0; i < s->var_count; i++)
        if (s->vars[i].value || s->vars[i].secret)
            list[n++] = entry_new(&s->vars[i]);
    return list;
}

void proc_environment_free(char **environment)
{
    for (char **entry = environment; *entry; entry++) {
        mem_wipe(*entry, strlen(*entry));
        mem_free(*entry);
    }
    mem_free(environment);
}
