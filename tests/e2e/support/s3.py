"""A real S3 server (deploy/demo/s3), its users and buckets, as a test or an administrator sees them."""
import hashlib
import json
import os
import pathlib
import subprocess
import urllib.parse
import xml.etree.ElementTree as ElementTree

from .shell import PROJECT, run

TOOL = PROJECT / "deploy/demo/s3"
NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class Server:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)

    def _tool(self, *argv):
        return run([TOOL, argv[0], self.dir, *argv[1:]], timeout=120).stdout

    def start(self):
        env = dict(line.split("=", 1) for line in self._tool("start").splitlines())
        self.http, self.https, self.ca = env["S3_HTTP"], env["S3_HTTPS"], env["S3_CA"]
        self.owner = (env["S3_ACCESS_KEY"], env["S3_SECRET_KEY"])
        return self

    def stop(self):
        self._tool("remove")

    def kill_gateway(self):
        """SIGKILL: every connection is cut, in the middle of whatever it carried."""
        self._tool("gateway", "kill")

    def start_gateway(self):
        self._tool("gateway", "start")

    def user(self, name, *argv):
        """(access key, secret) of a new user."""
        return tuple(self._tool("user", name, *argv).split())

    def role(self, name, role, bucket, prefix=""):
        """(access key, secret) of a new user who may do what deploy/policies/ROLE.json says, and nothing else."""
        keys = self.user(name)
        policy = (PROJECT / f"deploy/policies/{role}.json").read_text().replace("BUCKET", bucket)
        policy = policy.replace("PREFIX/", f"{prefix}/" if prefix else "")
        self.admin("caps", "add", "--uid=owner", "--caps=user-policy=*")
        form = {"Action": "PutUserPolicy", "UserName": name, "PolicyName": role, "PolicyDocument": policy, "Version": "2010-05-08"}
        status, body = self.request("POST", "", urllib.parse.urlencode(form).encode(),
                                    headers=["Content-Type: application/x-www-form-urlencoded"])
        assert status == 200, body
        return keys

    def session(self, name, seconds=3600):
        """(access key, secret, session token) that the server's STS gives, good for everything for so long."""
        trust = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/owner"]}, "Action": ["sts:AssumeRole"]}
        may = {"Effect": "Allow", "Action": ["s3:*"], "Resource": "arn:aws:s3:::*"}
        policies = [json.dumps({"Version": "2012-10-17", "Statement": [s]}) for s in (trust, may)]
        self.admin("role", "create", f"--role-name={name}", f"--assume-role-policy-doc={policies[0]}")
        self.admin("role-policy", "put", f"--role-name={name}", "--policy-name=all", f"--policy-doc={policies[1]}")
        form = {"Action": "AssumeRole", "DurationSeconds": seconds, "RoleArn": f"arn:aws:iam:::role/{name}", "RoleSessionName": name}
        status, body = self.request("POST", "", urllib.parse.urlencode(form).encode(),
                                    headers=["Content-Type: application/x-www-form-urlencoded"])
        assert status == 200, body
        found = {e.tag.split("}")[-1]: e.text for e in ElementTree.fromstring(body).iter()}
        return found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"]

    def admin(self, *argv):
        return self._tool("admin", *argv)

    def upload(self, key, path):
        """A file of any size, over whatever is there. (status, body)"""
        return self.request("PUT", key, headers=["Content-Type: application/octet-stream"], file=path)

    def request(self, method, path, body=b"", headers=(), keys=None, file=None):
        """Any request, signed by stock curl. body: a small one. (status, body)"""
        access, secret = keys or self.owner
        digest = hashlib.sha256(pathlib.Path(file).read_bytes() if file else body).hexdigest()
        lines = [f'user = "{access}:{secret}"', 'aws-sigv4 = "aws:amz:us-east-1:s3"', f'request = "{method}"',
                 f'url = "{self.http}/{path}"', 'write-out = "%{stderr}%{http_code}"']
        lines += [f'header = "{h}"' for h in headers]
        lines.append(f'header = "x-amz-content-sha256: {digest}"')
        if file:
            lines.append(f'upload-file = "{file}"')
        if body:
            lines.append('data-binary = "@/dev/fd/3"')
            if not any(h.lower().startswith("content-type:") for h in headers):
                lines.append('header = "Content-Type: application/octet-stream"')
        reader, writer = os.pipe()
        config = "\n".join(lines).encode()
        with os.fdopen(writer, "wb") as out:
            out.write(body)  # small ones: they fit into the pipe
        try:
            done = subprocess.run(["bash", "-c", f"exec curl -sS -K - 3<&{reader}"], input=config, capture_output=True,
                                  pass_fds=[reader], timeout=60)
        finally:
            os.close(reader)
        assert done.returncode == 0, done.stderr
        return int(done.stderr[-3:]), done.stdout

    def bucket(self, name, headers=()):
        status, body = self.request("PUT", name, headers=headers)
        assert status == 200, body
        return Bucket(self, name)


class Bucket:
    def __init__(self, server, name):
        self.server, self.name = server, name

    def write_keys(self, path, keys=None):
        access, secret = keys or self.server.owner
        path = pathlib.Path(path)
        path.write_text(f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n")
        path.chmod(0o600)

    def config(self, credentials, **changes):
        """The `s3:` of a repository."""
        return {"bucket": self.name, "endpoint": self.server.https, "ca_file": str(self.server.ca),
                "credentials_file": str(credentials), **changes}

    def list(self, prefix=""):
        """key -> size"""
        found, token = {}, None
        while True:
            query = ([("continuation-token", token)] if token else []) + [("list-type", "2"), ("prefix", prefix)]
            status, body = self.server.request("GET", f"{self.name}/?" + urllib.parse.urlencode(query, safe="", quote_via=urllib.parse.quote))
            assert status == 200, body
            tree = ElementTree.fromstring(body)
            for item in tree.iter(NS + "Contents"):
                found[item.find(NS + "Key").text] = int(item.find(NS + "Size").text)
            token = tree.findtext(NS + "NextContinuationToken")
            if tree.findtext(NS + "IsTruncated") != "true":
                return found

    def get(self, key):
        status, body = self.server.request("GET", f"{self.name}/{key}")
        assert status == 200, (status, body)
        return body

    def mirror(self, prefix, directory):
        """Downloads what is below prefix; name relative to it -> path."""
        paths = {}
        for key in sorted(self.list(prefix)):
            name = key[len(prefix):]
            path = pathlib.Path(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.get(key))
            path.chmod(0o600)
            paths[name] = path
        return paths
