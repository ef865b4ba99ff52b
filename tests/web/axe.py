"""axe-core, the one that tests/web/axe pins by version and digest, by npm. It is not had: the tests fail."""
import json
import os
import pathlib
import shutil
import subprocess

PINNED = pathlib.Path(__file__).parent / "axe"


def script():
    place = pathlib.Path(os.environ.get("PGSEAL_TEST_CACHE", "/var/cache/pgseal")) / "axe"
    file = place / "node_modules/axe-core/axe.min.js"
    lock, here = (PINNED / "package-lock.json").read_bytes(), place / "package-lock.json"
    if not file.exists() or not here.exists() or here.read_bytes() != lock:
        npm = shutil.which("npm")
        assert npm, "npm is not installed (make web installs it): axe-core cannot be had"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(PINNED, place)
        done = subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", place], timeout=300, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode or not file.exists():
            shutil.rmtree(place, ignore_errors=True)  # half of it is none
            raise AssertionError(f"npm ci did not bring axe-core:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return file.read_text()


class Axe:
    """look(page) -> what axe finds on it now."""

    def __init__(self):
        self.run = f"""(async () => {{ if (!window.axe) {{ {script()} }}
            const r = await axe.run(document, {{resultTypes: ['violations']}});
            return JSON.stringify(r.violations.map((v) => [v.id, v.help, v.nodes.slice(0, 3).map((n) => n.html + ' ' + n.failureSummary)])); }})()"""

    def look(self, page):
        return json.loads(page.js(self.run))
