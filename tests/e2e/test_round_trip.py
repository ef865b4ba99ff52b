"""dump(restore(dump(x))) == dump(x), on schemas that hold everything, on several majors."""
import pathlib
import shutil

import pytest

from support.postgres import CACHE, tools_dir
from support.shell import run
from support.sources import apt_source

DATA = pathlib.Path(__file__).parent / "data"


@pytest.mark.parametrize("major", [15, 17])
def test_rich_schema(make_stack, servers, engine, major):
    server = servers(major)
    server.create("rich", DATA / "rich.sql")
    stack = make_stack({"rich": server.conninfo("rich")}, engine=engine, images={major: engine.image(major)})
    sealed = stack.seal("rich")
    tables = server.sql("rich", "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace NOT IN "
                                "(SELECT oid FROM pg_namespace WHERE nspname ~ '^(pg_|information_schema)')")[0][0]
    assert sealed["tables"] == tables
    omitted = {(o["kind"], o["object"]) for o in sealed["detail"]["omissions"]}
    assert "foreign_table_data" in {k for k, _ in omitted}
    assert "role_passwords" in {k for k, _ in omitted}
    stack.assert_clean()


def test_rich_schema_local_engine_and_small_segments(make_stack, server):
    server.create("rich", DATA / "rich.sql")
    stack = make_stack({"rich": server.conninfo("rich")}, segment_mb=1)
    sealed = stack.seal("rich")
    assert sealed["segments"] > 20
    stack.assert_clean()


def test_empty_database(make_stack, server):
    server.create("nothing")
    stack = make_stack({"nothing": server.conninfo("nothing")})
    sealed = stack.seal("nothing")
    assert sealed["tables"] == 0 and sealed["rows"] == 0


@pytest.mark.parametrize("name", ["postgres", 'odd "name\' with\nnewline ünï'])
def test_database_names(make_stack, server, name):
    if name != "postgres":
        server.create(name)
    server.sql(name, "DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT generate_series(1, 10) i")
    try:
        stack = make_stack({"odd": server.conninfo(name)})
        assert stack.seal("odd")["rows"] == 10
    finally:
        server.sql(name, "DROP TABLE t")


@pytest.mark.parametrize("encoding,locale", [("LATIN1", "C"), ("SQL_ASCII", "C")])
def test_encodings(make_stack, server, encoding, locale):
    server.create("enc", template="template0", encoding=f"'{encoding}'", lc_collate=f"'{locale}'", lc_ctype=f"'{locale}'")
    server.sql("enc", "SET client_encoding = 'LATIN1'; CREATE TABLE t (a text); INSERT INTO t VALUES (convert_from('\\xe4f6fc'::bytea, 'LATIN1'))"
               if encoding == "LATIN1" else "CREATE TABLE t (a text); INSERT INTO t SELECT E'\\xe4\\xf6'")
    if encoding == "LATIN1":
        server.sql("enc", 'CREATE TABLE U&"caf\\00E9" (U&"\\00E9" int); INSERT INTO U&"caf\\00E9" VALUES (1), (2)')
    stack = make_stack({"enc": server.conninfo("enc")})
    assert stack.seal("enc")["rows"] == (3 if encoding == "LATIN1" else 1)


def test_settings_of_roles_and_databases(make_stack, server):
    """Settings that come with the roles must neither change what is dumped of the copy nor hinder the restore."""
    settings = {"client_encoding": "LATIN1", "DateStyle": "German", "bytea_output": "escape", "extra_float_digits": "-5",
                "IntervalStyle": "sql_standard", "TimeZone": "Asia/Tokyo", "search_path": "nowhere", "row_security": "off",
                "default_transaction_read_only": "on", "lock_timeout": "1ms", "default_table_access_method": "heap"}
    server.create("moody", template="template0", encoding="'UTF8'")
    server.sql("moody", "CREATE TABLE t (a text, b timestamptz, c bytea, d float8, e interval); "
                        "INSERT INTO t VALUES ('\u00e4\u4e2d', now(), '\\x00ff', pi(), '1 day -2 hours')")
    try:
        server.sql("template1", ";".join(f"ALTER ROLE postgres SET {name} = '{value}'; ALTER DATABASE moody SET {name} = '{value}'"
                                         for name, value in settings.items()))
        stack = make_stack({"moody": server.conninfo("moody")})
        assert stack.seal("moody")["rows"] == 1
    finally:
        with server.connect("template1", options="-c default_transaction_read_only=off").cursor() as cursor:
            cursor.execute("ALTER ROLE postgres RESET ALL")
            cursor.execute("DROP DATABASE moody")


def test_tablespace(make_stack, server):
    space = server.dir / "space"
    if not space.exists():
        space.mkdir()
        shutil.chown(space, "postgres", "postgres")
        server.sql("postgres", f"CREATE TABLESPACE \"odd 'space\" LOCATION '{space}'")
    server.create("spaced")
    server.sql("spaced", "CREATE TABLE t (a int PRIMARY KEY USING INDEX TABLESPACE \"odd 'space\") TABLESPACE \"odd 'space\"; INSERT INTO t VALUES (1)")
    stack = make_stack({"spaced": server.conninfo("spaced")})
    assert stack.seal("spaced")["rows"] == 1
    server.sql("postgres", "DROP DATABASE spaced")
    server.sql("postgres", "DROP TABLESPACE \"odd 'space\"")


@pytest.mark.long
def test_postgresql_13(make_stack, servers, engine):
    server = servers(13)
    server.create("rich", DATA / "rich.sql")
    stack = make_stack({"rich": server.conninfo("rich")}, engine=engine, images={13: engine.image(13)})
    stack.seal("rich")


@pytest.mark.long
def test_regression_database(make_stack, server):
    """PostgreSQL's own regression database, made from the sources Debian ships (apt-get source postgresql-15)."""
    sources = CACHE / "postgresql-15-source"
    if not list(sources.glob("postgresql-15*/src/test/regress")):
        sources.mkdir(parents=True, exist_ok=True)
        apt_source("postgresql-15", sources)
        run(["sh", "-c", "tar -xf postgresql-15_*.orig.tar.*"], cwd=sources)
    regress = next(sources.glob("postgresql-15*/src/test/regress"))
    server.create("regression")
    server.sql("postgres", "ALTER DATABASE regression SET lc_messages = 'C'; ALTER DATABASE regression SET timezone = 'PST8PDT'")
    schedule = (regress / "parallel_schedule").read_text()
    tests = [t for line in schedule.splitlines() if line.startswith("test:") for t in line[5:].split()]
    for test in tests:
        script = regress / "sql" / f"{test}.sql"
        run(["sh", "-c", "exec \"$0\" -X -q -a -d \"$1\" <\"$2\"", tools_dir(15) / "psql", server.conninfo("regression"), script],
            check=False, timeout=900, cwd=regress, env={"PG_ABS_SRCDIR": str(regress), "PG_LIBDIR": "/usr/lib/postgresql/15/lib",
                                                       "PG_DLSUFFIX": ".so", "PATH": "/usr/bin:/bin"})
    assert server.sql("regression", "SELECT count(*) FROM pg_class")[0][0] > 1000
    stack = make_stack({"regression": server.conninfo("regression")})
    stack.seal("regression", timeout=1800)
