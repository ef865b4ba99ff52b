"""What a team scripts today, of stock tools only."""
import os
import shutil
import subprocess
import time

from support.postgres import NATIVE, tools_dir
from support.shell import run

COUNTS = ("SELECT string_agg(format('SELECT %L, count(*) FROM %I', relname, relname), ' UNION ALL ') FROM pg_class "
          "WHERE relname ~ '^t[0-9]+$' AND relkind = 'r'")


def counts(tools, conninfo):
    sql = run([tools / "psql", "-XAt", "-d", conninfo, "-c", COUNTS]).stdout
    return sorted(run([tools / "psql", "-XAt", "-d", conninfo, "-c", sql]).stdout.splitlines())


def restore(tools, source, work, archive):
    target = work / "target"
    target.mkdir()
    shutil.chown(target, "postgres")
    user = ["runuser", "-u", "postgres", "--"]
    run([*user, tools / "initdb", "-D", target / "data", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"], cwd="/")
    process = subprocess.Popen([*user, str(tools / "postgres"), "-D", str(target / "data"), "-k", str(target), "-c", "listen_addresses="],
                               cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while run([tools / "pg_isready", "-q", "-h", target], check=False).returncode:
            time.sleep(0.1)
        run([tools / "createdb", "-h", target, "-U", "postgres", "bench"])
        run([tools / "pg_restore", "-j2", "-h", target, "-U", "postgres", "-d", "bench", archive], timeout=3600)
        assert counts(tools, source) == counts(tools, f"host={target} user=postgres dbname=bench")
    finally:
        os.kill(int((target / "data/postmaster.pid").read_text().split()[0]), 2)
        process.wait(60)


def scripted(source, work, certificate, key):
    tools = tools_dir(NATIVE)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    work.chmod(0o755)
    try:
        run([tools / "pg_dump", "-Fc", "-f", work / "dump", "-d", source], timeout=3600)
        run(["openssl", "cms", "-encrypt", "-binary", "-stream", "-outform", "DER", "-aes-256-gcm", "-in", work / "dump", "-out", work / "dump.cms", certificate])
        run(["cp", work / "dump.cms", work / "repository.cms"])
        run(["cp", work / "repository.cms", work / "back.cms"])
        run(["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", work / "back.cms", "-inkey", key, "-recip", certificate, "-out", work / "back"])
        restore(tools, source, work, work / "back")
    finally:
        shutil.rmtree(work, ignore_errors=True)
