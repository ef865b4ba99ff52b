"""What the pages' commands find (tests/docs/README.md): a scenario is a machine (machine.py) with something on it. `given NAME` in a comment of a page
calls its method given_NAME; `words` are those of a page that a reader would put something in the place of."""
import email
import json
import os
import re
import sys

import pages
import yaml
from machine import HERE, Machine

from support.certificates import Certificates
from support.shell import BIN, PROJECT, wait_for

SCHEMA = """
    SET ROLE api_owner;
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL CHECK (name <> ''));
    CREATE TABLE orders (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customers, total numeric(10,2) NOT NULL CHECK (total >= 0));
    CREATE TABLE invoices (id serial PRIMARY KEY, customer int NOT NULL REFERENCES customers, total numeric(10,2), note text);
    CREATE INDEX invoices_customer ON invoices (customer);
    CREATE SCHEMA audit;
    CREATE TABLE audit.changes (id serial PRIMARY KEY, at timestamptz DEFAULT now(), what text);
    CREATE INDEX orders_customer ON orders (customer);
    CREATE VIEW open_orders AS SELECT id, total FROM orders;
    INSERT INTO customers SELECT i, 'customer ' || i FROM generate_series(1, 300) i;
    INSERT INTO orders (customer, total) SELECT 1 + i % 300, i FROM generate_series(1, 2000) i;
    INSERT INTO invoices (customer, total, note) SELECT 1 + i % 300, i, md5(i::text) FROM generate_series(1, 1000) i;
    INSERT INTO audit.changes (what) SELECT md5(i::text) FROM generate_series(1, 100) i;"""


class Newcomer:
    """A Debian machine with pgseal's source, and a PostgreSQL at db1 with a database `api`."""
    shared = False  # between pages

    def __init__(self, base, server):
        self.server, self.machine = server, Machine(base)
        self.words = {}
        m = self.machine
        m.forward("tcp:127.0.0.1:5432", f"unix:{server.dir}/.s.PGSQL.5432")
        (m.home / "deploy").symlink_to(PROJECT / "deploy")
        root, build = m.dir / "installed", BIN.parent
        binaries = " ".join(f"-o {p}" for p in (build / "bin").iterdir())
        m.program("make", f'exec /usr/bin/make -s -C {PROJECT} BUILD={os.path.relpath(build, PROJECT)} DESTDIR={root} {binaries} "$@"')

    def begin(self):
        """A page begins: nothing of pgseal is on the server, the database is as it was before anything went wrong."""
        names = {name for name, in self.server.sql("postgres", "SELECT datname FROM pg_database")}
        if "api_template" not in names:
            self.server.sql("postgres", "CREATE ROLE api_owner LOGIN")
            self.server.create("api_template", owner="api_owner")
            self.server.sql("api_template", SCHEMA)
        for gone in ("DATABASE IF EXISTS api WITH (FORCE)", "DATABASE IF EXISTS api_restored WITH (FORCE)", "DATABASE IF EXISTS restored WITH (FORCE)",
                     "DATABASE IF EXISTS pgseal WITH (FORCE)", "ROLE IF EXISTS pgseal"):
            self.server.sql("postgres", f"DROP {gone}")
        self.machine.state.unlink(missing_ok=True)
        self.server.sql("postgres", "CREATE DATABASE api TEMPLATE api_template OWNER api_owner")  # its oids, too

    def contents(self, database):
        """Each table's rows and a digest of them; the names of views, indexes and constraints."""
        tables = [t for t, in self.sql("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'audit')",
                                       database)]
        rows = {t: self.sql(f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {t} t", database) for t in tables}
        names = self.sql("SELECT relname FROM pg_class WHERE relkind IN ('v', 'i', 'S') AND relnamespace::regnamespace::text IN ('public', 'audit') "
                         "UNION SELECT conname FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'audit')", database)
        return rows, sorted(names)

    def _same(self, database):
        got, wanted = self.contents(database), self.contents("api_template")
        assert got == wanted, f"{got} is not {wanted}"

    def then_all_is_there(self):
        """As before anything went wrong."""
        self._same("api")

    def then_restored_holds_what_api_does(self):
        self._same("restored")

    def then_api_restored_holds_what_api_does(self):
        self._same("api_restored")

    def then_the_invoices_are_there(self):
        got, wanted = (self.sql("SELECT count(*), sum(total) FROM invoices", d) for d in ("api", "api_template"))
        assert got == wanted, f"{got} is not {wanted}"

    def sql(self, text, database="api"):
        return self.server.sql(database, text)

    def run_sql(self, text):
        """What an ```sql block does."""
        self.server.psql_file("postgres", self._file(text))

    def _file(self, text):
        path = self.machine.dir / "statements.sql"
        path.write_text(text)
        path.chmod(0o644)
        return path

    def given_a_password(self):
        """The server asks for it; the reader's editor writes it."""
        self.machine.program("nano", 'echo "db1:5432:*:pgseal:of its own" >>"$1"')
        rules = self.server.dir / "data/pg_hba.conf"
        if "pgseal" not in rules.read_text():
            rules.write_text("local all pgseal scram-sha-256\n" + rules.read_text())
        self.server.sql("postgres", "SELECT pg_reload_conf()")

    def given_a_role(self):
        """As getting-started.md makes it, and it may put things back."""
        self.sql("CREATE ROLE pgseal LOGIN PASSWORD 'of its own'; GRANT pg_read_all_data, api_owner TO pgseal")
        self.given_a_password()
        self.machine.run("nano ~/.pgpass; chmod 600 ~/.pgpass")

    def given_a_migration_that_drops_a_table(self):
        self.machine.write("migration.sql", "ALTER TABLE invoices ADD COLUMN paid bool;\n")
        self.machine.program("./migrate", 'psql -X -q -h db1 -U postgres api -c "DROP TABLE orders CASCADE" 2>/dev/null')

    def remove(self):
        self.machine.remove()


class Dev(Newcomer):
    """`pgseal dev` runs, as in getting-started.md; there is a checkpoint pre-deploy-4f3a9c1 of prod-api, and PGSEAL_TOKEN."""
    shared = True

    def __init__(self, base, server):
        super().__init__(base, server)
        m = self.machine
        self.begin()
        self.given_a_password()
        m.run("nano ~/.pgpass; chmod 600 ~/.pgpass")
        m.stays("pgseal dev --database prod-api='host=db1 dbname=api user=pgseal' --dir ./pgseal-dev", "Ctrl-C stops it")
        m.variables |= {"PGSEAL_URL": "http://127.0.0.1:8420", "PGSEAL_TOKEN": (m.home / "pgseal-dev/token").read_text().strip(),
                        "PGSEAL_REHEARSE_SECRET_FILE": str(m.home / "pgseal-dev/keys/rehearse.secret"),
                        "DATABASE_URL": "postgresql://postgres@db1/api"}
        m.run("pgseal checkpoint prod-api --tag pre-deploy-4f3a9c1")
        m.program("npm", 'exec psql -X -q -v ON_ERROR_STOP=1 "$DATABASE_URL" -c "ALTER TABLE orders ADD COLUMN paid bool"')
        self.words = {r"\bdump-1\b": "dev", r"\bJOB\b": self.last_job, r"(?<=jobs/)ID\b": self.last_job, r"^ID$": lambda: self.checkpoint()["id"],
                      r"(?<=echo )HEX\b": lambda: self.checkpoint()["dump_public_key"]}

    def begin(self):
        super().begin()
        if "PGSEAL_URL" in self.machine.variables:
            self.machine.write("fleet.yaml", "policies: []\n")
            self.machine.run("pgseal apply -f fleet.yaml")
        self.server.sql("postgres", "CREATE ROLE pgseal SUPERUSER LOGIN PASSWORD 'of its own'")

    def checkpoint(self):
        return json.loads(self.machine.run("pgseal show pre-deploy-4f3a9c1 --json"))

    def given_a_fleet_yaml(self):
        self.machine.write("fleet.yaml", "policies: [{name: all, schedule: {cron: '15 3 * * *'}, objectives: {proof_age: 7d}}]\n"
                           "databases: [{name: shop, environment: production, owner: team-api}]\n")

    def given_retention(self):
        self.machine.write("fleet.yaml", "policies: [{name: all, retention: {last: 100}}]\n")
        self.machine.run("pgseal apply -f fleet.yaml")

    def given_a_restore_that_waits_for_approval(self):
        """Asked for with another token than the reader's."""
        self.machine.write("fleet.yaml", "policies: [{name: all, restore_approval: true}]\n")
        self.machine.run("""pgseal apply -f fleet.yaml
            curl -sS --fail-with-body "$PGSEAL_URL/api/v1/restores" -H "Authorization: Bearer $(cat ~/pgseal-dev/token)" \\
              -d '{"database": "prod-api", "mode": "beside", "replace": true, "tables": ["customers"]}'
            [ -e ~/second ] || pgseal token create --name second --role admin --output ~/second
            PGSEAL_TOKEN=$(cat ~/second)""")

    def given_the_directory_of_a_checkpoint(self):
        """With the keys in it that somebody kept."""
        self.machine.run('cd pgseal-dev/repository/' + self.checkpoint()["prefix"] + '; cp ~/pgseal-dev/keys/escrow.* .; '
                         'cp ~/pgseal-dev/keys/agent.pub .; OUT=~/opened')

    def given_another_server(self):
        self.machine.run("PGHOST=db1 PGUSER=postgres")

    def given_an_empty_database(self):
        self.machine.run("dropdb restored; createdb restored")

    def given_a_migration(self):
        self.machine.write("migrations/0042.sql", "ALTER TABLE orders ADD COLUMN note text;\n")
        self.machine.write("migration.sql", "ALTER TABLE orders ADD COLUMN note text;\n")

    def given_the_signing_key(self):
        self.given_a_fleet_yaml()
        self.machine.run("pgseal apply -f fleet.yaml")
        self.machine.run("cp pgseal-dev/keys/coordinator.pub signing.pub")

    def last_job(self):
        return json.loads(self.machine.run("pgseal jobs --json"))["jobs"][0]["id"]

    def given_a_bad_friday(self):
        self.sql("DROP INDEX invoices_customer; DROP TABLE orders CASCADE; DROP TABLE audit.changes; DELETE FROM invoices WHERE id % 4 = 0;"
                 "ALTER TABLE customers DROP CONSTRAINT customers_name_check")

    def given_invoices_that_are_gone_again(self):
        self.sql("DELETE FROM invoices WHERE id % 4 = 0")


class Bare(Newcomer):
    """A machine for a coordinator, pgseal.example.org: nothing is on it. An agent's own /etc/pgseal is /etc/pgseal-agent here."""

    def __init__(self, base, server):
        super().__init__(base, server)
        self.etc = self.machine.dir / "etc"
        self.words = {r"(?<=--dir )/etc/pgseal$": "/etc/pgseal-agent"}

    def given_that_it_runs(self, more=""):
        """With what the page has written into its coordinator.yaml."""
        config = self.etc / "pgseal/coordinator.yaml"
        config.write_text(config.read_text().replace("http: 127.0.0.1:8420 ", "http: 0.0.0.0:8420 ") +
                          "tls: {certificate: coordinator.crt, key: coordinator.key}\n" + more)
        self.machine.stays("exec pgseal-coordinator --config /etc/pgseal/coordinator.yaml", "coordinator started")
        self.machine.variables |= {"PGSEAL_URL": "https://pgseal.example.org:8420", "PGSEAL_TOKEN_FILE": "/etc/pgseal/token",
                                   "PGSEAL_CA_FILE": "/etc/pgseal/ca.crt"}


class Deployment(Bare):
    """A coordinator as security.md sets it up; its directory is where the reader works."""

    def __init__(self, base, server):
        super().__init__(base, server)
        self.machine.run("pgseal-coordinator init --dir /etc/pgseal --name pgseal.example.org")
        self.given_that_it_runs("databases: [{name: prod-api}]\n")

    def begin(self):
        super().begin()
        self.machine.run("cd /etc/pgseal")

    def given_a_server_for_the_ledger(self):
        """It asks for the password, which is in a file of its own."""
        self.given_a_password()
        self.machine.write("pgpass", "db1:5432:pgseal:pgseal:...\n")

    def given_a_new_coordinator_yaml(self):
        new = self.etc / "pgseal/new"
        new.mkdir()
        text = (self.etc / "pgseal/coordinator.yaml").read_text()
        for name in ("ca.crt", "ca.key", "coordinator.crt", "coordinator.key", "signing.key", "token"):
            (new / name).write_bytes((self.etc / "pgseal" / name).read_bytes())
            (new / name).chmod(0o600)
        (new / "coordinator.yaml").write_text(text.replace(
            "ledger: ledger.db", f"ledger: host=db1 dbname=pgseal user=pgseal passfile={self.machine.home}/pgpass"))

    def given_the_agent_that_prunes(self):
        """As the page's, over a directory: what doctor finds out about buckets is test_doctor_bucket.py's."""
        self.machine.run("pgseal agent invite prune-1 --capability prune --output prune-1.token")
        self.machine.run("pgseal-agent enroll --coordinator https://pgseal.example.org:8420 --token-file prune-1.token --dir /etc/pgseal-agent")
        self.machine.run("pgseal agent revoke prune-1")
        text = pages.page("docs/retention.md").block("agent").split("repository:")[0] + "repository: {directory: repository}\n"
        (self.etc / "pgseal-agent/agent.yaml").write_text(text)
        self.machine.run("cd /etc/pgseal-agent; pgseal status")


class Alerts(Bare):
    """A coordinator with the routes of alerts.md, and somebody at the other end of each that is asked for by HTTPS."""

    def __init__(self, base, server):
        super().__init__(base, server)
        m = self.machine
        m.run("pgseal-coordinator init --dir /etc/pgseal --name pgseal.example.org; mkdir /etc/pgseal/alerts")
        certificates = Certificates(m.dir / "tls")
        certificates.issue(names="DNS:events.pagerduty.com,DNS:example.com")
        with open(self.etc / "ssl/certs/ca-certificates.crt", "a") as trusted:
            trusted.write(certificates.ca.read_text())
        self.received = m.dir / "received"
        m.stays(f"exec {sys.executable} {HERE}/receiver.py {certificates.certificate} {certificates.key} {self.received}", "listening")
        self.key = "0123456789abcdef0123456789abcdef"
        for name in ("slack.url", "teams.url", "ping.url"):
            self._secret(name, f"https://example.com/{name}")
        for name in ("pagerduty.key", "hook.key"):
            self._secret(name, self.key)
        self._secret("smtp.password", "secret")
        routes = pages.page("docs/alerts.md").block("coordinator")
        self.given_that_it_runs(re.sub(r"smtp://mail.example.com:587.*", "smtp://127.0.0.1:1025", routes) + "\n")

    def _secret(self, name, text):
        path = self.etc / "pgseal/alerts" / name
        path.write_text(text + "\n")
        path.chmod(0o600)

    def given_that_nothing_of_prod_api_is_proven(self):
        self.machine.write("silenced.yaml", "databases: [{name: prod-api}]\npolicies: [{name: all, objectives: {proof_age: 7d}}]\n")
        self.machine.run("pgseal apply -f silenced.yaml; for i in $(seq 60); do pgseal alert list --json | grep -q proof_overdue && break; sleep 0.5; done")

    def _hook(self):
        """The webhook's last request."""
        self.machine.run("pgseal alert test hook")
        return [r for r in map(json.loads, self.received.read_text().splitlines()) if r["path"] == "/pgseal"][-1]

    def like_the_webhook(self):
        """A test's body. What the page shows is an alert's: its event, condition, subject and texts are others."""
        got = json.loads(self._hook()["body"])
        shown = json.loads(next(b.text for b in pages.page("docs/alerts.md").blocks if b.kind == "json"))
        assert set(got) == set(shown) and set(got["alerts"][0]) == set(shown["alerts"][0]), got
        got["alerts"] = [{**g, **{k: shown["alerts"][0][k] for k in ("event", "condition", "subject", "database", "severity", "summary", "remedy")}}
                         for g in got["alerts"]]
        return got | {"test": False}

    def python(self):
        """What a receiver has in its hands."""
        request = self._hook()
        return {"key": self.key.encode(), "body": request["body"].encode(), "timestamp": request["headers"]["X-Pgseal-Timestamp"],
                "signature": request["headers"]["X-Pgseal-Signature"]}


class Mail(Bare):
    """A coordinator that sends reports as reports.md has it, by a mail server on its own machine."""

    def __init__(self, base, server):
        super().__init__(base, server)
        m = self.machine
        self.mailbox = m.dir / "mailbox"
        self.mailbox.mkdir()
        m.run("pgseal-coordinator init --dir /etc/pgseal --name pgseal.example.org")
        m.stays(f"exec {sys.executable} {HERE}/mailbox.py 1025 {self.mailbox}", "listening")
        page = yaml.safe_load(next(b.text for b in pages.page("docs/reports.md").blocks if b.kind == "yaml" and "reports:" in b.text))
        route = {k: v for k, v in page["alerts"]["routes"][0].items() if k not in ("user", "password_file")}
        page["alerts"]["routes"] = [{**route, "url": "smtp://127.0.0.1:1025", "unencrypted": True}]
        page["databases"] = [{"name": "prod-api", "environment": "production"}]
        self.given_that_it_runs(yaml.safe_dump(page))

    def then_the_mail_is_there(self):
        """One for each that was asked for, with the signed document."""
        wait_for("two mails", lambda: len(list(self.mailbox.iterdir())) == 2)
        for mail in self.mailbox.iterdir():
            attached = [p.get_filename() for p in email.message_from_bytes(mail.read_bytes()).walk() if p.get_filename()]
            assert any(name.endswith(".json") for name in attached), attached


SCENARIOS = {"newcomer": Newcomer, "dev": Dev, "bare": Bare, "deployment": Deployment, "alerts": Alerts, "mail": Mail}
