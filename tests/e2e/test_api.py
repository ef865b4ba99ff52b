"""The HTTP API as docs/openapi.yaml documents it, and what a hostile or careless client does to it."""
import json
import pathlib
import re
import tempfile
import time

import pytest
import yaml

from support.shell import PROJECT
from support.stack import Stack

SPEC = yaml.safe_load((PROJECT / "docs/openapi.yaml").read_text())


@pytest.fixture(scope="module", params=["http", "https"])
def stack(request, base, server):
    """Everything here holds over both."""
    name = f"shop_{request.param}"
    server.create(name)
    server.sql(name, "CREATE TABLE item (id int PRIMARY KEY, name text); INSERT INTO item SELECT i, 'item '||i FROM generate_series(1, 1000) i")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p"
    s = Stack(directory, {"shop": server.conninfo(name)}, tls=request.param == "https").start()
    yield s
    s.remove()


def resolve(schema):
    while "$ref" in schema:
        node = SPEC
        for part in schema["$ref"][2:].split("/"):
            node = node[part]
        schema = node
    return schema


def members(schema):
    """The names that an object of the schema may have; None: any."""
    schema = resolve(schema)
    if not {"properties", "allOf"} & set(schema) or schema.get("additionalProperties"):
        return None
    parts = [members(part) for part in schema.get("allOf", [])]
    return None if None in parts else set(schema.get("properties", {})).union(*parts)


def check(value, schema, where="$", whole=True):
    """A small JSON Schema check: type, required, properties, items, enum, nullable, allOf. whole: what is not documented is not
    there."""
    schema = resolve(schema)
    if whole and isinstance(value, dict) and members(schema) is not None:
        assert set(value) <= members(schema), f"{where}: not in docs/openapi.yaml: {', '.join(sorted(set(value) - members(schema)))}"
    if value is None:
        assert schema.get("nullable") or "type" not in schema, f"{where} is null"
        return
    for part in schema.get("allOf", []):
        check(value, part, where, whole=False)
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value}"
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}
    if "type" in schema:
        assert isinstance(value, kinds[schema["type"]]), f"{where}: {value!r} is no {schema['type']}"
    for name in schema.get("required", []):
        assert name in value, f"{where} lacks {name}"
    for name, part in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            check(value[name], part, f"{where}.{name}")
    for i, item in enumerate(value if isinstance(value, list) else []):
        check(item, schema.get("items", {}), f"{where}[{i}]")


def documented(method, path, status):
    operation = SPEC["paths"][path][method.lower()]
    response = operation["responses"].get(str(status))
    assert response, f"{method} {path} answered {status}, which is not documented"
    response = resolve(response)
    return response.get("content", {}).get("application/json", {}).get("schema")


def call(stack, method, path, actual=None, **kw):
    status, body, headers = stack.api(method, actual or path, **kw)
    schema = documented(method, path, status)
    if schema:
        check(body, schema)
    return status, body, headers


def test_every_route_is_documented_and_every_documented_path_is_answered(stack):
    source = (PROJECT / "coordinator/api/router.c").read_text()
    routes = {(m, p.replace("/{}", "/{}")) for m, p in re.findall(r'\{"([A-Z]+)", "([^"]+)", ROLE_\w+, \w+, REACH_', source)}
    spec = {(m.upper(), re.sub(r"\{\w+\}", "{}", p)) for p, item in SPEC["paths"].items() for m in item}
    assert routes == spec


def test_answers_are_as_documented(stack):
    sealed = stack.seal("shop", "documented")
    identity = sealed["id"]
    for path in ("/api/v1/checkpoints", "/api/v1/drills", "/api/v1/databases", "/api/v1/overview", "/api/v1/agents", "/api/v1/ledger", "/api/v1/ledger/verify",
                 "/api/v1/tokens", "/healthz", "/readyz", "/metrics", "/"):
        assert call(stack, "GET", path)[0] == 200
    assert call(stack, "GET", "/api/v1/checkpoints/{id}", f"/api/v1/checkpoints/{identity}")[0] == 200
    assert call(stack, "GET", "/api/v1/checkpoints/{id}", "/api/v1/checkpoints/nonesuch")[0] == 404
    status, tables, _ = call(stack, "GET", "/api/v1/checkpoints/{id}/tables", f"/api/v1/checkpoints/{identity}/tables")
    assert status == 200 and tables["known"] and tables["more"] == 0 and [(t["schema"], t["name"], t["rows"]) for t in tables["list"]] == [("public", "item", 1000)]
    for query, wanted in (("order=name&limit=1", 200), ("order=size", 400), ("limit=0", 400), ("limit=10001", 400)):
        assert call(stack, "GET", "/api/v1/checkpoints/{id}/tables", f"/api/v1/checkpoints/{identity}/tables?{query}")[0] == wanted
    assert call(stack, "GET", "/api/v1/checkpoints/{id}/tables", "/api/v1/checkpoints/nonesuch/tables")[0] == 404
    assert call(stack, "POST", "/api/v1/checkpoints/{id}/cancel", f"/api/v1/checkpoints/{identity}/cancel")[0] == 409
    assert call(stack, "POST", "/api/v1/checkpoints", json_body={"database": "shopp", "tag": "x"})[0] == 404
    assert call(stack, "POST", "/api/v1/checkpoints", json_body={"database": "shop", "tag": "x\n"})[0] == 400
    assert call(stack, "POST", "/api/v1/checkpoints", json_body={"database": "shop", "tag": "x", "wiat": True})[0] == 400
    assert call(stack, "GET", "/api/v1/checkpoints", "/api/v1/checkpoints?limit=0")[0] == 400
    assert call(stack, "GET", "/api/v1/checkpoints", "/api/v1/checkpoints?state=sealed&database=shop")[0] == 200
    assert stack.api("GET", "/nope")[0] == 404
    assert stack.api("PUT", "/api/v1/checkpoints")[0] == 405


def test_events_stream(stack):
    identity = stack.request("shop", "watched")
    with stack.connect() as s:
        s.sendall(f"GET /api/v1/checkpoints/{identity}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stack.token}\r\n\r\n".encode())
        got = b""
        while b"event: checkpoint.sealed" not in got:
            piece = s.recv(65536)
            assert piece, got
            got += piece
    assert b"event: progress" in got and b"event: checkpoint.stored" in got


def test_tokens_and_roles(stack):
    status, made, _ = call(stack, "POST", "/api/v1/tokens", json_body={"name": "pipeline", "role": "ci"})
    assert status == 201 and made["token"].startswith("pgseal_")
    assert call(stack, "POST", "/api/v1/tokens", json_body={"name": "pipeline"})[0] == 409
    ci = made["token"]
    assert stack.api("GET", "/api/v1/databases", token=ci)[0] == 200
    assert call(stack, "GET", "/api/v1/tokens", token=ci)[0] == 403
    assert call(stack, "DELETE", "/api/v1/tokens/{name}", "/api/v1/tokens/pipeline")[0] == 200
    assert stack.api("GET", "/api/v1/databases", token=ci)[0] == 401
    limited = {"name": "limited", "role": "viewer", "databases": ["nothing-*"], "expires_in": 86400}
    status, made, _ = call(stack, "POST", "/api/v1/tokens", json_body=limited)
    assert status == 201 and made["databases"] == ["nothing-*"] and made["expires_at"]
    status, again, _ = call(stack, "POST", "/api/v1/tokens/{name}/rotate", "/api/v1/tokens/limited/rotate", json_body={"overlap": 60})
    assert status == 201 and again["token"] != made["token"]
    for secret in (made["token"], again["token"]):
        assert stack.api("GET", "/api/v1/databases", token=secret)[1] == {"databases": []}
        assert stack.api("GET", "/metrics", token=secret)[0] == 403
    assert call(stack, "DELETE", "/api/v1/tokens/{name}", "/api/v1/tokens/limited")[0] == 200
    assert stack.api("GET", "/api/v1/databases", token=made["token"])[0] == stack.api("GET", "/api/v1/databases", token=again["token"])[0] == 401
    status, body, headers = stack.api("GET", "/api/v1/databases", token="pgseal_" + "A" * 43)
    assert status == 401 and headers["WWW-Authenticate"].startswith("Bearer")
    assert all("token" not in t for t in call(stack, "GET", "/api/v1/tokens")[1]["tokens"])
    kinds = [e["kind"] for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]]
    assert "token.created" in kinds and "token.revoked" in kinds


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"database": 1, "tag": "x"}', b'{"database": "shop"}', b"\xff\xfe", b'{"a":1,"a":2}',
                                  b'{"database":"shop","tag":"x","wait":"yes"}', b"[" * 3000])
def test_bad_bodies(stack, body):
    status, answer, _ = stack.api("POST", "/api/checkpoint", raw=body)
    assert status == 400 and answer["error"]["code"] == "invalid_argument" and answer["error"]["remedy"], answer


def test_too_large(stack):
    status, answer, _ = stack.api("POST", "/api/checkpoint", raw=b'{"database": "' + b"x" * 200000 + b'"}')
    assert status == 413 and answer["ok"] is False


def test_idle_and_broken_connections(stack):
    """Many connections that say nothing, or half a request, keep nobody else from being served."""
    held = []
    for i in range(200):
        s = stack.connect()
        if i % 2:
            s.sendall(b"POST /api/checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        held.append(s)
    start = time.monotonic()
    assert stack.api("GET", "/healthz")[0] == 200
    assert time.monotonic() - start < 5
    for s in held:
        s.close()
    assert stack.api("GET", "/healthz")[0] == 200


def test_token_never_shows(stack):
    """Neither the token nor anything that is made of it is in logs, ledger or answers."""
    stack.seal("shop", "secret")
    everything = stack.log("coordinator") + stack.log("dump-drill") + json.dumps(stack.api("GET", "/api/v1/ledger?limit=1000")[1])
    everything += (stack.dir / "ledger.db").read_bytes().decode("latin-1")
    assert stack.token not in everything
