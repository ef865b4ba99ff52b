"""The main path on a bucket of a real S3 server, over TLS."""
import pathlib

from support.postgres import tools_dir
from support.shell import BIN, run
from test_main_path import make_shop

DATA = pathlib.Path(__file__).parent / "data"


def test_sealed_in_a_bucket(make_stack, server, engine, bucket):
    stack = make_stack({"prod-api": make_shop(server, "s3_shop")}, engine=engine, images={15: engine.image(15)},
                       s3=bucket, s3_options={"prefix": "team/prod"}, segment_mb=1)
    sealed = stack.seal("prod-api", "pre-deploy")
    names = stack.objects(sealed)
    assert {"manifest.json.cms", "manifest.json.cms.sig", "roles.sql.zst.cms", "000000.zst.cms"} <= set(names)
    assert [n for n in names if n.startswith("proofs/") and n.endswith(".json.cms")]
    assert all(k.startswith("team/prod/prod-api/") for k in bucket.list())
    assert sealed["size_bytes"] == sum(p.stat().st_size for n, p in names.items() if n.endswith(".zst.cms"))
    assert stack.cli("drill", sealed["id"]).returncode == 0

    out = stack.dir / "shop.dump"
    stack.cli("fetch", sealed["id"], "--repository", stack.repository, "--key", stack.dir / "keys/escrow.key",
              "--certificate", stack.dir / "keys/escrow.crt", "--output", out)
    server.create("s3_fetched")
    run([tools_dir(15) / "pg_restore", "-j2", "-d", server.conninfo("s3_fetched"), out])
    assert server.sql("s3_fetched", "SELECT count(*) FROM orders") == server.sql("s3_shop", "SELECT count(*) FROM orders")
    check = run([BIN / "pgseal-agent", "check", "--config", stack.dir / "dump-drill.yaml"], env={"PATH": "/usr/bin:/bin"})
    assert f"s3://{bucket.name}/team/prod/" in check.stdout
    stack.assert_clean()


def test_rich_schema_in_a_bucket(make_stack, server, bucket):
    """The round trip of everything a schema can hold, in many small segments."""
    server.create("s3_rich", DATA / "rich.sql")
    stack = make_stack({"rich": server.conninfo("s3_rich")}, s3=bucket, segment_mb=1)
    assert stack.seal("rich")["segments"] > 20
    stack.assert_clean()
