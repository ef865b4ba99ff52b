"""dump(restore(dump(x))) == dump(x), on schemas that hold everything, on several majors."""
import pathlib
import shutil

import pytest

from support.postgres import CACHE, NATIVE, Server, tools_dir
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


COLUMNS = {13: "'c', NULL, NULL, NULL", 15: "datlocprovider, daticulocale, datcollversion, pg_database_collation_actual_version(oid)",
           17: "datlocprovider, datlocale, datcollversion, pg_database_collation_actual_version(oid)"}


@pytest.mark.long
@pytest.mark.parametrize("major", [13, 15, 17])
def test_encodings_and_collations(make_stack, servers, engine, major):
    """What a dump tells of the source's encoding and collation is what that major has in its own columns: pg_database has
    datlocprovider, daticulocale and datcollversion since 15 (14 is as 13, 16 as 15), and datlocale instead of daticulocale since 17."""
    server = servers(major)
    german = [name for name, in server.sql("postgres", "SELECT collname FROM pg_collation WHERE collname = 'de_DE.utf8'")]
    kinds = {"plain": {}, "latin": {"encoding": "'LATIN1'", "locale": "'C'"}, **({"german": {"locale": "'de_DE.UTF-8'"}} if german else {}),
             **({"icu": {"locale_provider": "icu", "icu_locale": "'de-AT'", "locale": "'C.UTF-8'"}} if major >= 15 else {}),
             **({"built": {"locale_provider": "builtin", "builtin_locale": "'C.UTF-8'", "locale": "'C.UTF-8'"}} if major >= 17 else {})}
    for name, options in kinds.items():
        server.create(name, template="template0", **options)
        server.sql(name, "CREATE TABLE t (a text); INSERT INTO t VALUES ('b'), ('A')")
    stack = make_stack({n: server.conninfo(n) for n in kinds}, engine=engine, images={major: engine.image(major)})
    for name in kinds:
        told = stack.api("GET", f"/api/v1/checkpoints/{stack.seal(name)['id']}/tables")[1]["source"]
        encoding, collate, provider, locale, made, actual = server.sql(
            "postgres", f"SELECT pg_encoding_to_char(encoding), datcollate, {COLUMNS[major]} FROM pg_database WHERE datname = '{name}'")[0]
        if name == "german" and major < 15:
            actual = server.sql(name, "SELECT pg_collation_actual_version(oid) FROM pg_collation WHERE collname = 'de_DE.utf8'")[0][0]
        assert told == {"encoding": encoding, "collation_provider": {"c": "libc", "i": "icu", "b": "builtin"}[provider],
                        "collation": locale or collate, "collation_version": made or "", "collation_actual": actual or ""}, (name, told)
        assert bool(told["collation_actual"]) == (name in ("german", "icu", "built")), told
    assert "german" in kinds or major == 15  # the machine's own may have no locales


@pytest.mark.long
def test_ten_thousand_tables(make_stack, base):
    """Dumped, proven, and listed: all of them in the answer, and as many as there are."""
    server = Server(NATIVE, base / "many").start()
    try:
        server.sql("postgres", "ALTER SYSTEM SET max_locks_per_transaction = 512")
        server.stop()
        server.start()
        server.create("many")
        server.sql("many", ";".join(f"CREATE SCHEMA s{n}" for n in range(7)))
        for first in range(0, 10000, 1000):  # a transaction holds a lock for each
            server.sql("many", f"""DO $$ BEGIN FOR i IN {first + 1}..{first + 1000} LOOP
                EXECUTE format('CREATE TABLE s%s.table_number_%s (id int PRIMARY KEY, v text)', i % 7, i);
                EXECUTE format('INSERT INTO s%s.table_number_%s SELECT g, ''v'' FROM generate_series(1, %s) g', i % 7, i, i % 13);
                END LOOP; END $$""")
        rows = sum(i % 13 for i in range(1, 10001))
        stack = make_stack({"many": server.conninfo("many")}, timeout_seconds=3000)
        first = stack.seal("many", "first", timeout=1800)
        assert (first["tables"], first["rows"]) == (10000, rows)
        server.sql("many", "DROP TABLE s1.table_number_1; DELETE FROM s5.table_number_12; CREATE TABLE s0.new AS SELECT 1 AS a")
        second = stack.seal("many", "second", timeout=1800)
        answer = stack.api("GET", f"/api/v1/checkpoints/{second['id']}/tables?order=name")[1]
        assert answer["tables"] == answer["listed"] == len(answer["list"]) == 10000 and answer["more"] == 0
        assert answer["changes"] == {"same": 9998, "changed": 1, "added": 1, "removed": 1, "unlisted": 0}
        assert [t["name"] for t in answer["missing"]] == ["table_number_1"] and answer["previous"]["id"] == first["id"]
        names = [(t["schema"], t["name"]) for t in answer["list"]]
        assert names == sorted(names) and len(set(names)) == 10000 and sum(t["rows"] for t in answer["list"]) == second["rows"]
        top = stack.api("GET", f"/api/v1/checkpoints/{second['id']}/tables?order=change&limit=2")[1]["list"]
        assert [(t["name"], t["change"], t["rows_change"]) for t in top] == [("table_number_12", "changed", -12), ("new", "added", None)]
        stack.assert_clean()
    finally:
        server.remove()


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
