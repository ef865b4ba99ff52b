"""Source packages of Debian, without a change to this machine's own list of sources."""
from .shell import run


def apt_source(package, into):
    """Downloads a package's sources into a directory, from wherever this machine has its packages from; as released,
    without security updates, whose sources mirrors do not always keep."""
    places = run(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]).stdout
    (into / "sources.list").write_text("".join(f"deb-src {line}\n" for line in sorted(set(places.splitlines())) if "security" not in line))
    lists = into / "lists"
    lists.mkdir(exist_ok=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::Etc::sourcelist={into / 'sources.list'}", "-o", "Dir::Etc::sourceparts=-",
           "-o", f"Dir::State::lists={lists}", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root"]
    run([*apt, "update"])
    run([*apt, "source", "--download-only", package], cwd=into)
