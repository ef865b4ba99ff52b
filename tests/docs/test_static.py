"""What the pages name is there: commands and their options, routes, files, make's targets, metrics; links lead somewhere.
And each block is of a kind that is tested. Quick: nothing is started but `--help`."""
import functools
import re
import subprocess

import pages
import pytest
import yaml

from support.shell import BIN, PROJECT, run

PAGES = pages.names()
SPEC = yaml.safe_load((PROJECT / "docs/openapi.yaml").read_text())
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Options in the prose that are no program's of pgseal, and whose they are.
FOREIGN = {"--fail-with-body": "curl", "--cacert": "curl", "--max-time": "curl", "--create": "pg_restore", "--list": "pg_restore",
           "--period": "tests/bench/fleet/run"}
EXPLAINED = "\ntests/docs/README.md says what pages may have, and how."


@functools.lru_cache(None)
def says(program, *command):
    return run([BIN / program, *command, "--help"]).stdout


@functools.lru_cache(None)
def known():
    """command (a tuple of words) -> its options"""
    listed = says("pgseal").partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    return {tuple(line[2:19].split()): set(OPTION.findall(says("pgseal", *line[2:19].split()))) for line in listed}


def complain(found):
    assert not found, "\n".join(["", *found, EXPLAINED])


@pytest.mark.parametrize("name", PAGES)
def test_blocks_are_of_a_kind(name):
    made, found = pages.page(name), []
    found += [f"{name}:{line}: indented code: nobody knows what it is. Put it between ```sh (or another kind) and ```." for line in made.indented]
    found += [f"{name}:{line}: this block has no end" for line in made.unclosed]
    for block in made.blocks:
        if block.kind not in pages.KINDS:
            found.append(f"{block.where}: ```{block.kind} is no kind of block; there are: {', '.join(pages.KINDS)}")
        if block.kind == "text" and re.search(r"^\s*(\$ |pgseal(-\w+)? [a-z-]|curl |psql |make |openssl )", block.text, re.M):
            found.append(f"{block.where}: commands in a ```text block are not run: make it ```sh or ```console")
    complain(found)


def wrong(command):
    """What is wrong with a command of pgseal's programs; None if nothing is."""
    words = command.split()
    while words and (words[0] == "sudo" or re.match(r"\w+=", words[0])):
        words = words[1:]
    program = words[0].rpartition("/")[2] if words else ""
    options = [w for w in OPTION.findall(" ".join(words[1:]))]
    if program in ("pgseal-coordinator", "pgseal-agent", "pgseal-pdf", "pgseal-ci"):
        text = says(program) if program != "pgseal-ci" else run([PROJECT / "deploy/ci/pgseal-ci", "--help"]).stdout
        return next((f"{program} has no {o}" for o in options if o not in OPTION.findall(text) + ["--help"]), None)
    if program != "pgseal" or len(words) == 1 or words[1] in ("COMMAND", "...") or words[1].startswith("--"):
        return None
    firsts = {c[0] for c in known()}
    if words[1] not in firsts:
        return f"pgseal has no command {words[1]}"
    command = tuple(words[1:3]) if tuple(words[1:3]) in known() else (words[1],)
    if command not in known():
        subcommands = sorted(c[1] for c in known() if c[0] == words[1])
        return f"pgseal {words[1]} wants one of: {', '.join(subcommands)}"
    return next((f"pgseal {' '.join(command)} has no {o}" for o in options if o not in known()[command]), None)


@pytest.mark.parametrize("name", PAGES)
def test_commands_exist(name):
    made, found = pages.page(name), []
    for block in made.blocks:
        for command in pages.commands(block.text) if block.kind in ("sh", "console", "yaml") else []:
            problem = wrong(re.sub(r"^(\$|- run:|run:|script:) ", "", command))
            found += [f"{block.where}: {problem}: {command}"] if problem else []
    everything = set().union(*known().values(), *(OPTION.findall(says(p)) for p in ("pgseal-coordinator", "pgseal-agent")), FOREIGN)
    for line, span in pages.spans(made):
        if span.startswith("--"):
            found += [f"{name}:{line}: no command has {o}: {span}" for o in OPTION.findall(span) if o not in everything]
        for command in pages.commands(span):
            problem = wrong(command)
            found += [f"{name}:{line}: {problem}: {span}"] if problem else []
    complain(found)


def test_every_command_is_run_on_some_page():
    """What `pgseal --help` lists stands in a block, and so is run."""
    run_somewhere = set()
    for block in (b for p in pages.pages() for b in p.blocks if b.kind in ("sh", "console")):
        for command in pages.commands(block.text):
            words = [w for w in re.sub(r"^\$ ", "", command).split() if not re.match(r"\w+=", w)]
            if words[:1] == ["pgseal"] and len(words) > 1:
                run_somewhere |= {tuple(words[1:3])} & set(known()) or {(words[1],)}
    complain([f"no block of any page has `pgseal {' '.join(c)}`: show it where a reader would look for it" for c in known()
              if c not in run_somewhere])


def test_commands_that_do_not_exist_are_found():
    assert wrong("pgseal checkpiont prod-api") and wrong("pgseal restore prod-api --tabel x") and wrong("pgseal token") and wrong("pgseal token made")
    assert wrong("pgseal-coordinator check --confg x") and wrong("A=1 sudo /usr/bin/pgseal nonesuch")
    assert not wrong("pgseal token create --name x") and not wrong("pgseal ledger") and not wrong("pgseal ledger verify --expect HASH")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    made, found = pages.page(name), []
    for line, text, target in pages.links(made):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (PROJECT / name).parent / path if path else PROJECT / name
        if not file.exists():
            found.append(f"{name}:{line}: [{text}]({target}): there is no {path}")
        elif anchor and file.suffix == ".md":
            other = str(file.resolve().relative_to(PROJECT))
            if other in PAGES and anchor not in pages.page(other).anchors:
                found.append(f"{name}:{line}: [{text}]({target}): {other} has no heading #{anchor}; there are: {', '.join(sorted(pages.page(other).anchors))}")
    complain(found)


def test_every_page_is_reached():
    """From docs/README.md, which README.md leads to."""
    reached = {str(((PROJECT / n).parent / t.partition("#")[0]).resolve().relative_to(PROJECT))
               for n in ("README.md", "docs/README.md") for _, _, t in pages.links(pages.page(n)) if not re.match(r"[a-z]+:|#", t)}
    complain([f"{n}: no link leads here from README.md or docs/README.md" for n in PAGES if n not in reached | {"README.md"}])


def test_every_code_is_explained_once():
    """docs/troubleshooting.md against the one table of codes."""
    codes = re.findall(r'^  X\(\w+, "([a-z_]+)"', (PROJECT / "common/base/error_codes.h").read_text(), re.M)
    sections = re.findall(r"^#### `(\w+)`$", (PROJECT / "docs/troubleshooting.md").read_text(), re.M)
    assert len(codes) > 50
    complain([f"docs/troubleshooting.md: no section '#### `{c}`': what it means, likely causes, what to do" for c in codes if c not in sections] +
             [f"docs/troubleshooting.md: '{s}' is no code, or is there twice" for s in sections if sections.count(s) > 1 or s not in codes])


def test_the_reference_of_the_api_is_up_to_date():
    made = run([PROJECT / "make/api-doc"]).stdout
    assert made == (PROJECT / "docs/api-reference.md").read_text(), "it is made from docs/openapi.yaml: make/api-doc >docs/api-reference.md"


def routes():
    return [re.compile(re.sub(r"\{\w+\}", "[^/]+", p) + "$") for p in SPEC["paths"]]


@pytest.mark.parametrize("name", PAGES)
def test_routes_exist(name):
    made, found = pages.page(name), []
    named = [(line, s) for line, s in pages.spans(made)] + [(b.line, b.text) for b in made.blocks if b.kind in ("sh", "text", "console")]
    for line, text in named:
        for method, path in re.findall(r"(?:\b(GET|POST|PUT|DELETE)\s+)?(?<![\w.:}\"])(?:\$PGSEAL_URL)?(/(?:api|metrics|healthz|readyz|ui)\b[\w/{}$\".-]*)", text):
            path = path.strip('"').replace("...", "x").rstrip(".").split("?")[0]
            operations = [SPEC["paths"][p] for p, r in zip(SPEC["paths"], routes()) if r.match(re.sub(r'\$\{?\w+\}?|"', "x", path))]
            if not operations:
                found.append(f"{name}:{line}: docs/openapi.yaml has no {path}")
            elif method and method.lower() not in {m for o in operations for m in o}:
                found.append(f"{name}:{line}: docs/openapi.yaml has no {method} {path}")
    complain(found)


@functools.lru_cache(None)
def targets():
    text = "".join(p.read_text() for p in (PROJECT / "Makefile", PROJECT / "make/tasks.mk"))
    return {t for line in re.findall(r"^([a-z][a-z0-9 -]*):(?!=)", text, re.M) for t in line.split()}


@functools.lru_cache(None)
def tracked():
    files = run(["git", "-C", PROJECT, "ls-files", "--cached", "--others", "--exclude-standard"]).stdout.splitlines()
    return set(files) | {"/".join(f.split("/")[:n]) for f in files for n in range(1, f.count("/") + 1)}


@pytest.mark.parametrize("name", PAGES)
def test_files_and_targets_exist(name):
    made, found = pages.page(name), []
    for line, span in [*pages.spans(made), *((b.line, c) for b in made.blocks if b.kind == "sh" for c in pages.commands(b.text))]:
        for word in re.findall(r"(?<![\w/.-])((?:docs|deploy|tests|make|common|coordinator|agent|cli|proto)/[\w./-]+)", span):
            if word.rstrip("/.") not in tracked() and not span.startswith(("tests/unit/run",)):
                found.append(f"{name}:{line}: there is no {word}")
        target = re.match(r"(?:\w+=\S+ )*make((?: [a-z][a-z0-9-]*(?![\w=]))+)", span)
        found += [f"{name}:{line}: make has no target {t}" for t in (target.group(1).split() if target else []) if t not in targets()]
    complain(found)


VARIABLE = re.compile(r"\bPGSEAL_[A-Z_]+\b")


@functools.lru_cache(None)
def variables():
    return set(VARIABLE.findall(subprocess.run(["git", "-C", PROJECT, "grep", "-hoE", r"PGSEAL_[A-Z_]+", "--", ":!*.md"],
                                               capture_output=True, text=True, check=True).stdout))


@pytest.mark.parametrize("name", PAGES)
def test_variables_exist(name):
    made = pages.page(name)
    complain([f"{name}:{line}: nothing reads the variable {v}" for line, text in [*pages.spans(made), *((b.line, b.text) for b in made.blocks)]
              for v in VARIABLE.findall(text) if v not in variables()])
