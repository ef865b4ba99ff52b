"""An OpenID Connect issuer that does what it is told, for answers that no real one would give. Its keys and signatures are
real (openssl's). What a real one does is in tests/web/test_sign_in.py."""
import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.parse


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


class Key:
    """RSA, 2048 bits."""

    def __init__(self, kid):
        self.kid, self.file = kid, pathlib.Path(tempfile.mkdtemp()) / "key"
        subprocess.run(["openssl", "genrsa", "-out", self.file, "2048"], check=True, capture_output=True)
        modulus = subprocess.run(["openssl", "rsa", "-in", self.file, "-noout", "-modulus"], check=True, capture_output=True, text=True).stdout
        self.jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "e": "AQAB", "n": b64(bytes.fromhex(modulus.strip().split("=")[1]))}

    def sign(self, data):
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.file], input=data, check=True, capture_output=True).stdout


class Issuer:
    """client: (id, secret). What it answers may be changed: claims (a dict, None takes one out), header, token (a function of
    header and claims that makes the text of the ID token), answers (path -> function of the handler, instead of its own), apart (the
    claims that are at the userinfo endpoint alone), access (the access token)."""

    def __init__(self, client=("pgseal", "a secret: of+the/test")):
        self.client, self.codes, self.asked, self.people = client, {}, [], {}
        self.key = self.shown = Key("k1")
        self.person = {"sub": "u-1", "email": "ann@example.com", "email_verified": True, "groups": ["dba"]}
        self.reset()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer._serve(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.description = {"issuer": self.url, "authorization_endpoint": f"{self.url}/auth", "token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/keys",
                            "userinfo_endpoint": f"{self.url}/userinfo",
                            "end_session_endpoint": f"{self.url}/end", "response_types_supported": ["code"], "id_token_signing_alg_values_supported": ["RS256"],
                            "code_challenge_methods_supported": ["S256"]}
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def reset(self):
        self.claims, self.header, self.token, self.answers, self.apart, self.access = {}, {}, None, {}, (), None

    def config(self, directory, at, **more):
        (directory / "oidc-secret").write_text(self.client[1] + "\n")
        (directory / "oidc-secret").chmod(0o600)
        return {"issuer": self.url, "client_id": self.client[0], "client_secret_file": "oidc-secret", "public_url": at, "name": "Example ID",
                "grants": [{"value": "dba", "role": "admin"}, {"value": "pay-dev", "role": "viewer", "databases": ["pay-*"]}], **more}

    def authorize(self, location):
        """What the issuer's page does once somebody has signed in there: the redirect back, as path and query."""
        url = urllib.parse.urlsplit(location)
        asked = {k: v[0] for k, v in urllib.parse.parse_qs(url.query, strict_parsing=True).items()}
        assert f"{url.scheme}://{url.netloc}{url.path}" == self.description["authorization_endpoint"]
        assert asked["response_type"] == "code" and asked["client_id"] == self.client[0] and "openid" in asked["scope"].split()
        assert asked["code_challenge_method"] == "S256" and len(asked["code_challenge"]) == 43 and len(asked["nonce"]) >= 32
        code = f"code-{len(self.codes)}"
        self.codes[code] = {**asked, "person": dict(self.person)}
        back = urllib.parse.urlsplit(asked["redirect_uri"])
        return f"{back.path}?{urllib.parse.urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    # ---- what it answers ---------------------------------------------------------------------------

    def _serve(self, handler):
        path = handler.path.split("?")[0]
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path](handler)
        if path == "/.well-known/openid-configuration":
            return self.say(handler, 200, self.description)
        if path == "/keys":
            return self.say(handler, 200, {"keys": [self.shown.jwk]})
        if path == "/token":
            return self.say(handler, *self._exchange(handler))
        if path == "/userinfo":
            person = self.people.get(handler.headers.get("Authorization"))
            return self.say(handler, 200 if person else 401, person or {})
        return self.say(handler, 404, {})

    @staticmethod
    def say(handler, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    def _exchange(self, handler):
        form = {k: v[0] for k, v in urllib.parse.parse_qs(handler.rfile.read(int(handler.headers["Content-Length"])).decode(), strict_parsing=True).items()}
        basic = base64.b64decode(handler.headers.get("Authorization", "Basic ")[6:]).decode()
        if [urllib.parse.unquote_plus(p) for p in basic.split(":")] != list(self.client):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(form["code"], None)  # once
        if not asked or form["grant_type"] != "authorization_code" or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if b64(hashlib.sha256(form["code_verifier"].encode()).digest()) != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        access = self.access or f"access-{time.time_ns()}"
        self.people[f"Bearer {access}"] = asked["person"]
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.client[0], "iat": now, "exp": now + 300, "nonce": asked["nonce"],
                  "at_hash": b64(hashlib.sha256(access.encode()).digest()[:16]),
                  **{k: v for k, v in asked["person"].items() if k not in self.apart}, **self.claims}
        claims = {k: v for k, v in claims.items() if v is not None}
        header = {"alg": "RS256", "kid": self.key.kid, **self.header}
        return 200, {"token_type": "Bearer", "access_token": access, "id_token": (self.token or self.signed)(header, claims)}

    def signed(self, header, claims):
        text = f"{b64(header)}.{b64(claims)}"
        return f"{text}.{b64(self.key.sign(text.encode()))}"

    def unsigned(self, header, claims):
        return f"{b64({**header, 'alg': 'none'})}.{b64(claims)}."

    def by_hmac(self, header, claims):
        """The public key, which everybody has, as a secret."""
        text = f"{b64({**header, 'alg': 'HS256'})}.{b64(claims)}"
        return f"{text}.{b64(hmac.new(json.dumps(self.key.jwk).encode(), text.encode(), hashlib.sha256).digest())}"
