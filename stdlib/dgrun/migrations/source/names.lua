-- A part of a Python program, see dgrun.migrations.source: calls of names that are imported:
-- SQLAlchemy's, and others.
return [==[
# Functions of SQLAlchemy that take a connection and do not write.
READERS = set("""inspect Inspector from_engine Table MetaData Session sessionmaker scoped_session
automap_base reflect create_session AsyncSession Connection Operations configure""".split())
EXPRESSIONS = set("""literal literal_column column cast type_coerce case and_ or_ not_ exists any_
all_ bindparam extract between distinct desc asc nullsfirst nullslast collate over tuple_ label
alias aliased outparam collation""".split())
READ_MODULES = set("""abc argparse ast base64 binascii builtins calendar collections contextlib copy
csv dataclasses datetime decimal enum errno fractions functools glob hashlib hmac inspect io
itertools json logging math operator pathlib pickle pprint random re secrets string struct
sys tempfile textwrap time traceback types typing unicodedata uuid warnings zlib zoneinfo
__future__ sqlalchemy alembic typing_extensions""".split())


class Names:
    def call_imported(self, dotted, args, options, node, is_statement):
        root, name = dotted.split(".")[0], dotted.split(".")[-1]
        if root == "builtins":
            return self.call_builtin(name, args, options, node)
        if root == "sqlalchemy" or name in ("AutoString", "JSONB"):
            return self.call_sqlalchemy(dotted, name, args, options, node)
        if name in ("Session", "AsyncSession"):
            return Connection()
        if root not in READ_MODULES and is_statement:
            raise NotRead("%s is a function of another module" % name, name)
        if name not in READERS:
            self.refuse(args, options, "%s, a function of another module," % name, name)
        for arg in args:
            if isinstance(arg, (Query, Rows)):
                return self.element(arg)
        return Made(dotted=dotted)

    def call_builtin(self, name, args, options, node):
        if name in ("getattr", "setattr") and len(args) > 1 and isinstance(args[1], str):
            if name == "getattr":
                return self.attribute(args[0], str(args[1]), node)
            if isinstance(args[0], Rows):
                self.changes_rows(node, args[0])
                return UNKNOWN
        if name in ("isinstance", "hasattr", "print", "bool", "type", "id", "repr", "super"):
            return UNKNOWN
        first = self.elements(args[0]) if args else []
        if args and isinstance(args[0], (Query, Rows)):
            return self.element(args[0])
        if name in ("list", "tuple", "set", "sorted", "reversed", "frozenset"):
            if first is None:
                return self.element(args[0])
            first = first[::-1] if name == "reversed" else first
            try:
                return List(sorted(first) if name == "sorted" and not options else first)
            except TypeError:
                return List(first)
        if name == "dict" and first is not None:
            return {**(args[0] if args and isinstance(args[0], dict) else {}), **options}
        if name == "enumerate" and first is not None:
            return [tuple(pair) for pair in enumerate(first)]
        if name == "zip" and all(self.elements(arg) is not None for arg in args):
            return [tuple(items) for items in zip(*[self.elements(arg) for arg in args])]
        if name in ("len", "str", "int", "range", "max", "min", "sum") and all_known(args):
            try:
                return {"len": len, "str": str, "int": int, "range": range, "max": max,
                        "min": min, "sum": sum}[name](*args)
            except (TypeError, ValueError):
                return UNKNOWN
        if name == "str" and args:
            return args[0] if isinstance(args[0], (Partial, Sql)) else UNKNOWN
        if name in ("exec", "eval", "globals", "compile", "__import__"):
            raise NotRead("%s runs code that cannot be seen" % name)
        self.refuse(args, options, name)
        return UNKNOWN

    def call_sqlalchemy(self, dotted, name, args, options, node):
        if ".func." in dotted:
            return self.sql_function(name, args, node)
        if name in TYPES and not dotted.startswith("sqlalchemy.func"):
            return make_type(name, args, options, self.dialect)
        made = getattr(self, "make_" + name, None)
        if made:
            return made(args, options, node)
        if name in EXPRESSIONS:
            return self.expression(node)
        if name in ("true", "false", "null"):
            return Sql(text=name.upper())
        if name in ("Session", "AsyncSession", "create_engine", "create_async_engine"):
            return Connection()
        if name not in READERS:
            self.refuse(args, options, name, name)
        return Made(dotted=dotted)

    def sql_function(self, name, args, node):
        texts = []
        for arg in args:
            if isinstance(arg, Sql) and arg.exact:
                texts.append(arg.text)
            elif isinstance(arg, Column):
                texts.append(quoted(str(arg.name)))
            elif isinstance(arg, (str, int, float)):
                texts.append(str(arg) if not isinstance(arg, str) else literal(arg))
            else:
                texts.append(self.expression(node).text)
        return Sql(text="%s(%s)" % (name, ", ".join(texts)), is_call=True)

    def make_text(self, args, options, node):
        value = args[0] if args else options.get("text", UNKNOWN)
        if isinstance(value, str):
            return Sql(text=value)
        return value if isinstance(value, (Partial, Sql)) else UNKNOWN

    make_TextClause = make_DDL = make_quoted_name = make_text

    def make_literal_column(self, args, options, node):
        return Sql(text=args[0]) if args and isinstance(args[0], str) else self.expression(node)

    def make_column(self, args, options, node):
        return Column(name=args[0] if args else UNKNOWN, type=args[1] if len(args) > 1 else None,
                      parts=[], options={})

    def make_Column(self, args, options, node):
        words = [arg for arg in args]
        name = words.pop(0) if words and isinstance(words[0], (str, Partial, Unknown)) else (
            options.get("name", UNKNOWN))
        kind = options.get("type_")
        if words and not isinstance(words[0], Constraint):
            kind = words.pop(0)
        return Column(name=name, type=kind, options=options,
                      parts=[word for word in words if isinstance(word, Constraint)])

    make_mapped_column = make_Column

    def make_ForeignKey(self, args, options, node):
        target, remote = None, '"?"'
        if args and isinstance(args[0], str):
            words = args[0].split(".")
            if len(words) > 1:
                target = table_of(words[-2], words[-3] if len(words) > 2 else None)
                remote = quoted(words[-1])
        return Constraint(kind="foreign", target=target, remote=remote, columns=[],
                          options=options)

    def make_ForeignKeyConstraint(self, args, options, node):
        columns = args[0] if args else options.get("columns", [])
        others = args[1] if len(args) > 1 else options.get("refcolumns", [])
        others = others if isinstance(others, (list, tuple)) else []
        first = self.make_ForeignKey(others[:1], {}, node)
        remote = [other.split(".")[-1] for other in others if isinstance(other, str)]
        return Constraint(kind="foreign", target=first.target, remote=columns_of(remote),
                          columns=columns, options=options)

    def make_PrimaryKeyConstraint(self, args, options, node):
        return Constraint(kind="primary", columns=args, options=options)

    def make_UniqueConstraint(self, args, options, node):
        return Constraint(kind="unique", columns=args, options=options)

    def make_CheckConstraint(self, args, options, node):
        return Constraint(kind="check", columns=[], options=options,
                          text=condition_of(args[0] if args else options.get("sqltext")))

    def make_Index(self, args, options, node):
        return Constraint(kind="index", columns=args[1:],
                          options={**options, "name": args[0] if args else None})

    def make_ExcludeConstraint(self, args, options, node):
        return Constraint(kind="exclude", columns=[], options=options)

    def make_Identity(self, args, options, node):
        return Constraint(kind="identity", columns=[], options=options)

    def make_Computed(self, args, options, node):
        return Constraint(kind="computed", columns=[], options=options,
                          text=condition_of(args[0] if args else options.get("sqltext")))

    def make_Sequence(self, args, options, node):
        return Constraint(kind="sequence", columns=[], options=options,
                          name=args[0] if args else UNKNOWN)

    def make_CreateSequence(self, args, options, node):
        return self.of_sequence("CREATE", args)

    def make_DropSequence(self, args, options, node):
        return self.of_sequence("DROP", args)

    def of_sequence(self, word, args):
        if args and isinstance(args[0], Constraint) and args[0].kind == "sequence":
            return Sql(text="%s SEQUENCE %s" % (word, table_of(args[0].name,
                                                               args[0].options.get("schema"))))
        return UNKNOWN

    def make_CreateSchema(self, args, options, node):
        return Sql(text="CREATE SCHEMA " + table_of(args[0] if args else UNKNOWN))

    def make_DropSchema(self, args, options, node):
        return Sql(text="DROP SCHEMA " + table_of(args[0] if args else UNKNOWN))

    def make_table(self, args, options, node):
        name = args[0] if args else options.get("name", UNKNOWN)
        return Table(name=name, schema=options.get("schema"))

    make_Table = make_table

    def changed(self, kind, args):
        table = args[0] if args else None
        table = table.table if isinstance(table, Model) else table
        return self.change(kind, table if isinstance(table, Table) else None, args[1:], {})

    def make_update(self, args, options, node):
        return self.changed("update", args)

    def make_delete(self, args, options, node):
        return self.changed("delete", args)

    def make_insert(self, args, options, node):
        return self.changed("insert", args)
]==]
