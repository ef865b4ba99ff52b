"""A CA of our own, and a certificate of the API signed by it."""
import ssl
import subprocess


class Certificates:
    def __init__(self, directory):
        self.dir = directory
        self.dir.mkdir(mode=0o700)
        self.ca, self.certificate, self.key = self.dir / "ca.crt", self.dir / "api.crt", self.dir / "api.key"
        self._openssl("req", "-x509", *self._new_key(self.dir / "ca.key"), "-out", self.ca, "-days", "2", "-subj", "/CN=test CA")
        self.issue()

    def _openssl(self, *argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)

    def _new_key(self, path):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path

    def issue(self, name="api", names="IP:127.0.0.1,DNS:localhost", subject="api", expired=False):
        """Writes NAME.crt and NAME.key; each into its place at once, the key first, as a careful renewer does."""
        request, extensions = self.dir / "new.csr", self.dir / "new.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        self._openssl("req", *self._new_key(self.dir / "new.key"), "-out", request, "-subj", f"/CN={subject}")
        self._openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.dir / "ca.key", "-CAcreateserial",
                      "-days", -1 if expired else 2, "-extfile", extensions, "-out", self.dir / "new.crt")
        (self.dir / "new.key").rename(self.dir / f"{name}.key")
        (self.dir / "new.crt").rename(self.dir / f"{name}.crt")

    def context(self):
        return ssl.create_default_context(cafile=str(self.ca))
