"""What npm brings for these tests: exactly what the package-lock.json of a directory of tests/web pins, by version and digest. It is
not had: the tests fail."""
import os
import pathlib
import shutil
import subprocess

HERE = pathlib.Path(__file__).parents[2] / "web"


def place(name, wanted):
    """A directory with what tests/web/NAME pins; wanted: a file that has to be in its node_modules."""
    pinned, there = HERE / name, pathlib.Path(os.environ.get("PGSEAL_TEST_CACHE", "/var/cache/pgseal")) / name
    file, here = there / "node_modules" / wanted, there / "package-lock.json"
    if not file.exists() or not here.exists() or here.read_bytes() != (pinned / "package-lock.json").read_bytes():
        npm = shutil.which("npm")
        assert npm, f"npm is not installed (make web installs it): {wanted} cannot be had"
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(pinned, there)
        done = subprocess.run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", there], timeout=300, check=False,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode or not file.exists():
            shutil.rmtree(there, ignore_errors=True)  # half of it is none
            raise AssertionError(f"npm ci did not bring {wanted}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return there
