-- A part of a Python program, see dgrun.migrations.source: what calls of Alembic, of
-- connections and of the file's own functions do.
return [==[
OPENING = set("""connect begin begin_nested cursor connection get_bind raw_connection
execution_options engine bind no_autoflush session session_factory""".split())
HARMLESS = set("""commit rollback close flush invalidate expire_all expunge_all fetchall fetchone
fetchmany in_transaction get_execution_options has_table remove refresh expire detach""".split())
DRIVERS = ("exec_driver_sql", "executemany", "executescript")
SENDING = ("execute", "scalar", "scalars") + DRIVERS
LOGS = set("debug info warning warn error exception critical log msg bind".split())
BINDS = re.compile(r"""('(?:[^']|'')*'|"[^"]*"|\$(\w*)\$.*?\$\2\$|--[^\n]*|/\*.*?\*/)"""
                   r"""|(\bIN\s*)?(?<![:\w\\]):(\w+)\b(?!:(?!:))|\\:|%\(\w+\)s|%s""", re.S | re.I)
PLACEHOLDERS = re.compile(r"""('(?:[^']|'')*'|"[^"]*")|%\(\w+\)s|%s|%%|\?""", re.S)


# The server's grammar has no bind parameters: values take their places.
def with_values(sql, is_driver):
    def value_of(match):
        if match.group(1):
            return match.group()
        if is_driver:
            return "%" if match.group() == "%%" else "'?'"
        if match.group() == "\\:":
            return ":"
        value = "':%s'" % match.group(4) if match.group(4) else "'?'"
        return "%s(%s)" % (match.group(3), value) if match.group(3) else value
    text = (PLACEHOLDERS if is_driver else BINDS).sub(value_of, sql)
    return text.replace("\0", "")


class Calls:
    def on_call(self, node, scope, is_statement):
        function = self.value(node.func, scope)
        args = self.items_of(node.args, scope)
        options = {}
        for keyword in node.keywords:
            value = self.value(keyword.value, scope)
            if keyword.arg:
                options[keyword.arg] = value
            elif isinstance(value, dict):
                options.update(value)
        try:
            return self.call(function, args, options, node, is_statement)
        except NotRead as problem:
            words = problem.words
            if not words and isinstance(function, Method):
                words = function.name
            self.unread(node, problem.reason, words)
            return UNKNOWN

    def call(self, function, args, options, node, is_statement=False):
        if isinstance(function, Function):
            return self.call_function(function, args, options, node)
        if isinstance(function, Method):
            if function.name in SENDING and isinstance(function.base, Made) and args and (
                    isinstance(args[0], (str, Sql, Change, Partial))):
                return self.call_connection(self.connection, function.name, args, options, node)
            if is_statement:
                self.refuse_foreign(function)
            return self.call_method(function, args, options, node)
        if isinstance(function, Ref):
            return self.call_imported(function.dotted, args, options, node, is_statement)
        if isinstance(function, Made) and function.dotted.split(".")[-1] in (
                "sessionmaker", "scoped_session"):
            return Connection()
        if isinstance(function, Model):
            return self.instance(function, args, options, node)
        if is_statement:
            raise NotRead("a function that is not known is called")
        self.refuse(args, options, "a function that is not known")
        return UNKNOWN

    # Unknown code that gets the connection or op may do anything.
    def refuse(self, args, options, what, words=""):
        if reaches(list(args)) or reaches(options):
            raise NotRead("%s gets the connection or op" % what, words)

    def instance(self, model, args, options, node):
        made = Object(model=model, values={})
        init = self.member(model, "__init__", made)
        if isinstance(init, Function):
            self.call_function(init, args, options, node)
        else:
            made.values.update(options)
            if args:
                made.values[""] = list(args)
        return made

    # A method of an object from another module, called for its effect.
    def refuse_foreign(self, method):
        base = method.base
        while isinstance(base, Method):
            base = base.base
        if isinstance(base, Made) and method.name not in LOGS and method.name not in HARMLESS and (
                base.dotted.split(".")[0] not in READ_MODULES):
            raise NotRead("%s is a method of an object from another module" % method.name,
                          method.name)

    def call_function(self, function, args, options, node):
        if self.depth >= DEPTH:
            raise NotRead("the functions of the file call each other too deeply")
        scope, spec = Scope(function.scope), function.node.args
        args = ([function.first] if function.first else []) + list(args)
        names = [arg.arg for arg in getattr(spec, "posonlyargs", []) + spec.args]
        for arg, default in zip(names[len(names) - len(spec.defaults):], spec.defaults):
            scope[arg] = self.value(default, function.scope)
        for arg, default in zip(spec.kwonlyargs, spec.kw_defaults):
            scope[arg.arg] = self.value(default, function.scope) if default else UNKNOWN
        for name, value in list(zip(names, args)) + list(options.items()):
            scope[name] = value
        if spec.vararg:
            scope[spec.vararg.arg] = list(args[len(names):])
        if spec.kwarg:
            scope[spec.kwarg.arg] = {name: value for name, value in options.items()
                                     if name not in names}
        for name in names:
            scope.setdefault(name, UNKNOWN)
        self.depth += 1
        try:
            if isinstance(function.node, ast.Lambda):
                return self.value(function.node.body, scope)
            end = self.block(function.node.body, scope)
            if end == "raise" and not scope.returned:
                return FAILS
        finally:
            self.depth -= 1
        if any(isinstance(part, (ast.Yield, ast.YieldFrom)) for part in ast.walk(function.node)):
            return UNKNOWN
        returned = scope.returned + ([] if end == "return" else [None])
        result = returned[0]
        for value in returned[1:]:
            result = result if same(result, value) else self.either(result, value)
        return result

    def call_method(self, method, args, options, node):
        base, name = method.base, method.name
        if isinstance(base, (Op, Batch)):
            return self.call_op(base, name, args, options, node)
        if isinstance(base, Context):
            return self.call_context(name, args, options, node)
        if isinstance(base, Connection):
            return self.call_connection(base, name, args, options, node)
        if isinstance(base, Dialect):
            return UNKNOWN
        for kind, handler in ((Type, self.call_type), (Table, self.call_table),
                              (Change, self.call_change), (Query, self.call_query)):
            if isinstance(base, kind):
                return handler(base, name, args, options, node)
        if isinstance(base, Rows):
            return base if name in ("all", "first", "one", "scalars", "unique", "one_or_none",
                                    "fetchall", "fetchone", "yield_per") else UNKNOWN
        if is_expression(base):
            return base if name in ("bindparams", "columns", "execution_options", "self_group",
                                    "text") else self.expression(node)
        if isinstance(base, Object):
            self.refuse([base] + list(args), options, "a method that is not known", name)
            return UNKNOWN
        if isinstance(base, (str, list, dict)):
            return self.call_plain(base, name, args, options)
        if isinstance(base, Partial):
            return base
        words = name if reaches(list(args)) or reaches(options) else ""
        if isinstance(base, Made) and base.dotted.endswith("MetaData") and name == "reflect":
            return UNKNOWN
        if name in ("has_table", "get_columns", "bulk_insert_mappings") and not words:
            return UNKNOWN
        self.refuse(args, options, "a method that is not known", words)
        if isinstance(base, Made) and name in ("options", "distinct", "where", "filter", "limit",
                                               "order_by", "join", "select_from", "group_by"):
            return base
        return UNKNOWN

    def call_op(self, base, name, args, options, node):
        if name == "f":
            return args[0] if args else UNKNOWN
        if name == "execute":
            return self.execute(args[0] if args else options.get("sqltext", UNKNOWN), node)
        batch = base if isinstance(base, Batch) else None
        if not batch:
            if name in ("get_bind", "get_context"):
                return self.connection if name == "get_bind" else Context()
            if name == "batch_alter_table":
                return self.batch(args, options, node)
            if name == "inline_literal":
                return args[0] if args else UNKNOWN
        if name not in SIGNATURES:
            raise NotRead("%s is not an operation of Alembic" % name, name)
        o = with_names(bound(name, args, options, batch), node.lineno)
        self.emit(node, getattr(self.writer, name)(o))
        if name == "alter_column" and o.get("type_") is not None and "existing_type" in o:
            self.items[-1]["types"] = self.writer.existing_type(o)
        if batch and self.dialect == "sqlite" and name not in (
                "add_column", "create_index", "drop_index", "create_table_comment",
                "drop_table_comment"):
            batch.copies = True
        if name == "create_table" and isinstance(o.get("table"), str):
            return Table(name=o["table"], schema=o.get("schema"))
        return UNKNOWN

    def batch(self, args, options, node):
        table = args[0] if args else options.get("table_name", UNKNOWN)
        table = table if isinstance(table, str) else unknown_name(node.lineno)
        return Batch(table=table, schema=args[1] if len(args) > 1 else options.get("schema"),
                     copies=options.get("recreate") == "always")

    def call_context(self, name, args, options, node):
        if name == "autocommit_block":
            return Autocommit()
        if name == "execute":
            return self.execute(args[0] if args else UNKNOWN, node)
        if name in ("begin_transaction", "get_current_revision", "get_current_heads"):
            return UNKNOWN
        raise NotRead("%s of the migration context is not known" % name, name)

    def call_connection(self, session, name, args, options, node):
        if name in SENDING:
            sql = args[0] if args else options.get("statement", UNKNOWN)
            return self.execute(sql, node, name in DRIVERS, session)
        if name in OPENING:
            return session
        if name in HARMLESS:
            return UNKNOWN
        if name == "query":
            table = args[0].table if args and isinstance(args[0], Model) else args[0] if (
                args and isinstance(args[0], Table)) else None
            return Query(table=table, where=None, session=session)
        if name == "get":
            return Rows(session=session)
        if name in ("add", "add_all", "bulk_save_objects", "bulk_insert_mappings"):
            if any(isinstance(arg, Rows) for arg in args):
                self.changes_rows(node, Rows(session=session))
            return UNKNOWN
        if name in ("merge", "bulk_update_mappings"):
            return self.changes_rows(node, Rows(session=session)) or UNKNOWN
        if name == "delete":
            raise NotRead("the session deletes rows that the file chooses one by one", "delete")
        raise NotRead("%s of the connection is not known" % name, name)

    # SQL that is sent, by whichever function.
    def execute(self, sql, node, is_driver=False, session=None):
        session = session or self.connection
        if isinstance(sql, (list, tuple)):
            for one in sql:
                self.execute(one, node, is_driver, session)
            return UNKNOWN
        if isinstance(sql, Change):
            if sql.table is None:
                raise NotRead("the table is not known", sql.kind)
            self.emit(node, [self.writer.change(sql)])
            return UNKNOWN
        if isinstance(sql, Made) and sql.dotted.split(".")[-1] in ("select", "Select", "exists"):
            return Rows(session=session)
        if isinstance(sql, Sql):
            if not sql.exact:
                return UNKNOWN
            sql = "SELECT " + sql.text if sql.is_call else sql.text
        if isinstance(sql, Partial):
            raise NotRead("only pieces of the SQL are literals", sql.words)
        if not isinstance(sql, str):
            raise NotRead("the SQL is not a literal")
        text = with_values(sql, is_driver)
        if self.dialect == "sqlite":
            text = with_values(text, True)
        self.emit(node, [text], sql)
        return UNKNOWN

    def call_type(self, kind, name, args, options, node):
        if name == "create" and kind.labels is not None and self.writer.postgresql:
            self.emit(node, self.writer.create_type(kind))
        elif name == "drop" and self.writer.postgresql:
            self.emit(node, ["DROP TYPE " + kind.text])
        elif name == "with_variant":
            names = args[1:]
            return type_of(args[0], self.dialect) if self.dialect in names else kind
        return kind if name in ("with_variant", "copy", "evaluates_none") else UNKNOWN

    def call_table(self, table, name, args, options, node):
        if name in ("update", "delete", "insert"):
            return self.change(name, table, args, options)
        if name == "select":
            return Made(dotted="sqlalchemy.select")
        if name == "drop":
            self.emit(node, ["DROP TABLE " + table_of(table)])
        elif name == "create":
            self.emit(node, ["CREATE TABLE %s ()" % table_of(table)])
        return UNKNOWN

    def change(self, kind, table, args, options):
        change = Change(kind=kind, table=table, columns=[], where=None)
        return self.call_change(change, "where", args, options, None) if args else change

    def call_change(self, change, name, args, options, node):
        if name in ("where", "filter", "filter_by"):
            texts = [arg.text if isinstance(arg, Sql) else str(arg).lower()
                     if isinstance(arg, bool) else '"?"' for arg in args]
            texts += ['"%s"' % key for key in options]
            old = [change.where] if change.where else []
            return Change(kind=change.kind, table=change.table, columns=change.columns,
                          where=" AND ".join(old + texts) or None)
        if name in ("values", "ordered_values", "update"):
            keys = [key for arg in args if isinstance(arg, dict) for key in arg] + list(options)
            names = [key.name if isinstance(key, Column) else key for key in keys]
            names = [key.text.strip('"').split(".")[-1] if isinstance(key, Sql) else key
                     for key in names]
            columns = [key for key in names if isinstance(key, str)]
            return Change(kind=change.kind, table=change.table, where=change.where,
                          columns=change.columns + columns)
        return change

    def call_query(self, query, name, args, options, node):
        if name in ("update", "delete"):
            if query.table is None:
                raise NotRead("the table is not known", name)
            change = Change(kind=name, table=query.table, columns=[], where=query.where)
            if name == "update":
                change = self.call_change(change, "values", args[:1], {}, node)
            self.emit(node, [self.writer.change(change)])
            return UNKNOWN
        if name in ("filter", "filter_by", "where", "join", "outerjoin", "limit"):
            where = (query.where + " AND " if query.where else "") + '"%s"' % name
            return Query(table=query.table, where=where, session=query.session)
        if name in ("count", "exists", "scalar", "statement", "subquery"):
            return UNKNOWN
        if name in ("all", "first", "one", "one_or_none", "get", "yield_per"):
            return Rows(session=query.session)
        return query

    def call_plain(self, base, name, args, options):
        is_known = all_known(args) and all_known(list(options.values()))
        if isinstance(base, list):
            return self.call_list(base, name, args)
        if isinstance(base, dict):
            if name == "get" and args and isinstance(args[0], (str, int)):
                return base.get(args[0], args[1] if len(args) > 1 else None)
            if name in ("items", "keys", "values"):
                return [tuple(item) if name == "items" else item for item in getattr(base, name)()]
            if name == "update" and args and isinstance(args[0], dict):
                base.update(args[0])
            return UNKNOWN if name != "copy" else dict(base)
        if name in ("format", "join", "replace", "strip", "lstrip", "rstrip", "lower", "upper",
                    "title", "split", "splitlines", "startswith", "endswith", "removeprefix"):
            if is_known:
                try:
                    return getattr(str(base), name)(*args, **options)
                except (TypeError, ValueError, LookupError, AttributeError):
                    return UNKNOWN
            return Partial(words=" ".join([base] + [words_of(arg) for arg in args]))
        return UNKNOWN

    def call_list(self, base, name, args):
        if self.unsure and isinstance(base, List):
            base.unsure = True
        if name in ("append", "add", "insert") and args and len(base) <= LIMIT:
            base.append(args[-1])
        elif name in ("extend", "update") and args and len(base) <= LIMIT:
            more = self.elements(args[0])
            base.extend(more if more is not None else [UNKNOWN])
        elif name in ("difference", "union", "copy"):
            others = [self.elements(arg) for arg in args]
            if None in others:
                return UNKNOWN
            rest = [item for other in others for item in other]
            if name == "difference":
                return [item for item in base if item not in rest]
            return base + (rest if name == "union" else [])
        return UNKNOWN
]==]
