"""Faults of the source database, and what a restore of it would trip over: found, named, with a remedy."""
import pytest

import fleet
import judge
from fleet import Case
from proxy import Proxy
from support.shell import free_port

SECRET = "hunter2secret"
ROWS = "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 1000) i;"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text);" + ROWS

UNREACHABLE = [
    Case("no socket", "errored", "database_unreachable", ("/nonexistent", "host"),
         conninfo=lambda s: f"host=/nonexistent dbname=x user=x password={SECRET} connect_timeout=2"),
    Case("port closed", "errored", "database_unreachable", ("127.0.0.1", "refused"),
         conninfo=lambda s: f"host=127.0.0.1 port={free_port()} dbname=x user=x password={SECRET}"),
    Case("no answer", "errored", "database_unreachable", ("127.0.0.1",),
         conninfo=lambda s: f"host=127.0.0.1 port={s.silent} dbname=x user=x password={SECRET} connect_timeout=2"),
    Case("wrong password", "errored", "database_refused", ("gated", "password"),
         conninfo=lambda s: s.conninfo("postgres", user="gated", password=SECRET)),
    Case("no password", "errored", "database_refused", ("password",), conninfo=lambda s: s.conninfo("postgres", user="gated")),
    Case("no such database", "errored", "database_refused", ("not_there",), conninfo=lambda s: s.conninfo("not_there")),
    Case("no such role", "errored", "database_refused", ("nobody_here",), conninfo=lambda s: s.conninfo("postgres", user="nobody_here")),
    Case("no connection string", "errored", "invalid_argument", ("connection string", "host="), conninfo=lambda s: "host = = nonsense"),
]
UNFIT = [
    Case("unreadable table", "failed", "table_unreadable", ('secret', "GRANT"), user="limited",
         sql='CREATE TABLE t (a int); GRANT SELECT ON t TO limited; CREATE TABLE "secret ""t""" (a int)'),
    Case("row level security", "failed", "row_security", ("public.t", "BYPASSRLS"), user="limited",
         sql="CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); GRANT SELECT ON t TO limited; "
             "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (a = 1)"),
    Case("table locked", "errored", "lock_timeout", ("lock",), sql=TABLE, lock="t", options={"lock_timeout_seconds": 1}),
    Case("role not in the checkpoint", "failed", "role_missing", ("absent_role", "roles: all"),
         sql=TABLE + "GRANT SELECT ON t TO absent_role", options={"roles": "none"}),
    Case("foreign key violated", "failed", "restore_object_lost", ("c_t_fkey", "drop the constraint"),
         sql=TABLE + "CREATE TABLE c (t int REFERENCES t); SET session_replication_role = replica; INSERT INTO c VALUES (-5)"),
    Case("check reads another table", "failed", "restore_data_lost", ("public.a_child", "valid_parent", "trigger"),
         sql="CREATE TABLE z_parent (id int PRIMARY KEY); INSERT INTO z_parent VALUES (1);"
             "CREATE FUNCTION known(p int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.z_parent WHERE id = p)';"
             "CREATE TABLE a_child (id int, p int CONSTRAINT valid_parent CHECK (known(p))); INSERT INTO a_child VALUES (7, 1)"),
    Case("check writes to another table", "failed", "round_trip_differs", ("public.journal", "pgseal show"),
         sql="CREATE TABLE journal (id int);"
             "CREATE FUNCTION note(i int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.journal VALUES (i); RETURN true; END';"
             "CREATE TABLE a (id int CHECK (note(id))); INSERT INTO a VALUES (1), (2)"),
    Case("index needs a search path", "failed", "restore_object_lost", ("t_word", "normal_form", "SET search_path"),
         sql=TABLE + "CREATE FUNCTION normal_form(v text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower(v)';"
             "CREATE FUNCTION word(v text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN normal_form(v); END';"
             "CREATE INDEX t_word ON t (word(v))"),
    Case("unique index violated", "failed", "restore_object_lost", ("t_once", "REINDEX"),
         sql=TABLE + "INSERT INTO t VALUES (-1, 'twice'); CREATE TABLE u (v text);"
             "CREATE UNIQUE INDEX t_once ON u ((v)); UPDATE pg_index SET indisready = false, indisvalid = true WHERE indexrelid = 't_once'::regclass;"
             "INSERT INTO u VALUES ('twice'), ('twice'); UPDATE pg_index SET indisready = true WHERE indexrelid = 't_once'::regclass"),
    # What a row says is not what the server says of the drill.
    Case("row speaks of a full disk", "failed", "restore_data_lost", ("public.a_child",),
         sql="CREATE TABLE z_parent (id int PRIMARY KEY); INSERT INTO z_parent VALUES (1);"
             "CREATE FUNCTION known(p int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.z_parent WHERE id = p)';"
             "CREATE TABLE a_child (v text, p int CHECK (known(p)));"
             "INSERT INTO a_child VALUES ('No space left on device, out of memory, server closed the connection', 1)"),
    Case("assertion does not hold", "failed", "assertion_failed", ("enough rows", "coordinator's configuration"), sql=TABLE,
         options={"assertions": [{"name": "enough rows", "sql": "SELECT count(*) > 1000000 FROM t"}]}),
    Case("assertion does not run", "errored", "assertion_error", ("misspelled", "SQL"), sql=TABLE,
         options={"assertions": [{"name": "misspelled", "sql": "SELECT count(*) > 1 FROM no_such_table"}]}),
    Case("assertion writes what it asks", "errored", "assertion_error", ("helpful",), sql=TABLE,
         options={"assertions": [{"name": "helpful", "sql": "INSERT INTO t VALUES (0) RETURNING true"}]}),
]


@pytest.fixture(scope="module")
def ended(base, server, request):
    server.require_password("gated", "another")
    server.sql("postgres", "DROP ROLE IF EXISTS limited; DROP ROLE IF EXISTS absent_role; CREATE ROLE limited LOGIN; CREATE ROLE absent_role")
    with Proxy(("127.0.0.1", 1)) as silent:
        silent.stall()
        server.silent = silent.port
        with fleet.run(base, server, fleet.chosen(request)) as outcome:
            yield outcome
    server.sql("postgres", "DROP ROLE limited; DROP ROLE absent_role; DROP ROLE gated")


@pytest.mark.parametrize("case", UNREACHABLE + UNFIT, ids=lambda c: c.id)
def test_source(ended, case):
    stack, shown = ended
    judge.expect(stack, shown[case.id], case.state, case.codes, *case.mentions)
    assert SECRET not in str(shown[case.id]) + str(stack.api("GET", "/api/v1/ledger")[1])


@pytest.mark.parametrize("case", [Case("nothing", "sealed", (), sql=TABLE)], ids=lambda c: c.id)
def test_faultless(ended, case):
    stack, shown = ended
    judge.sealed(stack, shown[case.id])
    assert not [n for n in ("coordinator", *stack.agents) if SECRET in stack.log(n)]
