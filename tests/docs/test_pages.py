"""Each page is run, from its top to its end, in the scenario that it names: its commands as they stand there, their exit status
and what the page says they print. tests/docs/README.md explains to authors what to write."""
import json
import re
import shlex

import machine
import pages
import pytest
import scenarios

QUICK = ("docs/getting-started.md", "docs/open-without-pgseal.md", "docs/recovery.md")  # with every `make test`; the others with `make docs`
# What is not run here, by page and by how the block begins, and why: the only way for a block not to be run.
NOT_RUN = {
    ("CONTRIBUTING.md", "make deps-check"): "they are what runs this; that the targets are there, test_static.py sees",
    ("README.md", "make demo"): "CI runs both before this",
    ("deploy/images/README.md", "deploy/images/build 17"): "minutes, and a mirror of Debian: support/engine.py runs it for the drills of other tests",
    ("deploy/images/README.md", "deploy/images/tools 17"): "the same: support/postgres.py runs it for the tests with PostgreSQL 13 and 17",
}
TO_DO = "\nA page names its scenario in a comment, once, above its first block: <!-- test: scenario NAME -->. tests/docs/README.md has the rest."


class Fault(AssertionError):
    pass


def reason(block):
    return next((why for (page, start), why in NOT_RUN.items() if page == block.page and block.text.startswith(start)), None)


def run_blocks(made, scenario_of):
    """Runs the page's blocks in order. scenario_of(name) makes or finds a scenario."""
    last = None
    for block in made.blocks:
        if block.kind in ("text", "ini", "yaml") or reason(block):
            if block.kind == "text" and block.mark("output") is not None:
                shown(block, last, machine.difference(block.text, last.out))
            continue
        if not block.scenario:
            raise Fault(f"{block.where}: nothing says what this block is run with.{TO_DO}")
        scenario = scenario_of(block.scenario)
        steps(block, scenario, "given")
        if block.kind == "json":
            output_json(block, scenario, last)
        elif block.kind == "sql":
            scenario.run_sql(filled(scenario, block.text))
        elif block.kind == "console":
            last = console(block, scenario)
        elif block.kind == "http":
            last = requests(block, scenario)
        elif block.kind == "sh":
            last = shell(block, scenario)
        elif block.kind == "python":
            names = {name: __import__(name) for name in ("hashlib", "hmac", "json", "time")}
            exec(compile(block.text, block.where, "exec"), names | scenario.python())  # pylint: disable=exec-used
        steps(block, scenario, "then")


def steps(block, scenario, when):
    """`given NAME`, before it is run, and `then NAME`, after: methods of the scenario."""
    for mark in block.marks:
        if not mark.startswith(when + " "):
            continue
        method = getattr(scenario, re.sub(r"\W+", "_", mark), None)
        if not method:
            there = sorted(n[len(when) + 1:].replace("_", " ") for n in dir(scenario) if n.startswith(when + "_"))
            raise Fault(f"{block.where}: the scenario {block.scenario} has nothing called '{mark}'; it has: {', '.join(there)} (tests/docs/scenarios.py)")
        try:
            method()
        except AssertionError as problem:
            raise Fault(f"{block.where}: {mark}: {problem}") from problem


def filled(scenario, text):
    for word, value in scenario.words.items():
        text = re.sub(word, lambda _: value() if callable(value) else value, text, flags=re.M)
    return text


def ends(block):
    """`COMMAND ends STATUS`"""
    found = [re.fullmatch(r"(.*) ends (\d+)", m) for m in block.marks]
    return [(f.group(1), int(f.group(2))) for f in found if f]


def shell(block, scenario, text=None):
    text = filled(scenario, text or block.text)
    until = block.mark("stays until")
    if until is not None:
        return machine.Done(0, scenario.machine.stays(text, until), "", [])
    args = shlex.split(filled(scenario, block.mark("with") or ""))
    done = scenario.machine.bash(text, args=args, ends=ends(block), types=block.mark("types"))
    expected = {status for _, status in ends(block)}
    unexpected = done.status and not (done.failures and done.failures[-1][1] == done.status in expected)
    if unexpected or len(done.failures) < len(ends(block)):
        what = "".join(f"\n  ended {status}: {command}" for command, status in done.failures) or f"\n  all of it ended {done.status}"
        should = "".join(f"\n  it says that this ends {status}: {command}" for command, status in ends(block))
        raise Fault(f"{block.where}: a command does not end as the page lets a reader expect (0, unless a comment <!-- test: COMMAND ends STATUS -->"
                    f" above the block says otherwise):{what}{should}\n--- stdout\n{done.out}--- stderr\n{done.err}")
    return done


def requests(block, scenario):
    """Each of them has to be answered with 2xx."""
    text = ""
    for line in block.text.splitlines():
        method, path, *body = line.split(None, 2)
        data = f" --data {shlex.quote(body[0])}" if body else ""
        text += f'curl -sS --fail-with-body -X {method} "$PGSEAL_URL"{shlex.quote(path)} -H "Authorization: Bearer $PGSEAL_TOKEN"{data}\n'
    return shell(block, scenario, text)


def console(block, scenario):
    last = None
    for part in re.split(r"(?m)^\$ ", block.text)[1:]:
        lines = part.split("\n")
        n = 1
        while lines[n - 1].endswith("\\"):
            n += 1
        last = shell(block, scenario, "\n".join(lines[:n]))
        shown(block, last, machine.difference("\n".join(lines[n:]), last.out))
    return last


def shown(block, last, problem):
    if problem:
        raise Fault(f"{block.where}: {problem}\n(numbers, times, sizes and ids may differ; `...` is anything). It printed:\n{last.out}")


def output_json(block, scenario, last):
    wanted = block.mark("like")
    if wanted is None and block.mark("output") is None:
        raise Fault(f"{block.where}: a json block is what the block before prints: <!-- test: output -->, or <!-- test: like NAME --> of the scenario")
    got = getattr(scenario, "like_" + re.sub(r"\W+", "_", wanted))() if wanted else json.loads(last.out)
    problem = machine.like(json.loads(re.sub(r",\s*\.\.\.\s*}", "}", block.text)), got)
    if problem:
        raise Fault(f"{block.where}: {problem}\nIt is:\n{json.dumps(got, indent=1)[:4000]}")


@pytest.fixture(scope="module")
def shared():
    """Scenarios that pages have in common, one after the other: what takes long is made once."""
    made = {}
    yield made
    for left in list(machine.Machine.running):
        left.remove()


@pytest.fixture
def scenario_of(base, server, shared):
    begun = {}

    def get(name):
        kind = scenarios.SCENARIOS.get(name)
        if not kind:
            raise Fault(f"there is no scenario '{name}'; there are: {', '.join(scenarios.SCENARIOS)} (tests/docs/scenarios.py)")
        if name not in begun:
            begun[name] = shared.get(name) or kind(base, server)
            if kind.shared:
                shared[name] = begun[name]
            begun[name].begin()
        return begun[name]

    yield get
    for name, scenario in begun.items():
        if name not in shared:
            scenario.remove()


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in pages.names()])
def test_page(name, scenario_of):
    run_blocks(pages.page(name), scenario_of)


class Alone:
    """A machine with nothing on it."""
    shared, words = False, {}

    def __init__(self, base):
        self.machine = machine.Machine(base)

    def then_it_is_so(self):
        assert (self.machine.home / "so").exists(), "it is not so"


@pytest.mark.parametrize("text, complaint", [
    ("```sh\ntrue\n```", "nothing says what this block is run with"),
    ("A\n```sh\nfalse\n```", "ended 1: false"),
    ("A\n```sh\nfalse\ntrue\n```", "ended 1: false"),
    ("A\n```sh\nfalse | cat\n```", "ended 1: "),
    ("A\n```sh\nexit 3\n```", "all of it ended 3"),
    ("A\n<!-- test: false ends 1 -->\n```sh\ntrue\n```", "it says that this ends 1: false"),
    ("A\n<!-- test: false ends 2 -->\n```sh\nfalse\n```", "ended 1: false"),
    ("A\n<!-- test: false ends 1 -->\n```sh\nfalse\nls /nowhere\n```", "ended 2: ls /nowhere"),
    ("A\n```console\n$ echo 12 kB of 3 tables\n9 MB of 4 rows\n```", "it printed something else"),
    ("A\n```console\n$ echo one; echo two\none\n```", "it printed something else"),
    ("A\n```sh\necho '{\"ok\": false}'\n```\n<!-- test: output -->\n```json\n{\"ok\": true, ...}\n```", "$.ok is False"),
    ("A\n```sh\necho '{\"a\": 1}'\n```\n<!-- test: output -->\n```json\n{\"b\": 2, ...}\n```", "has no 'b'"),
    ("A\n<!-- test: given what is not there -->\n```sh\ntrue\n```", "has nothing called 'given what is not there'; it has"),
    ("A\n<!-- test: then it is so -->\n```sh\ntrue\n```", "then it is so: it is not so"),
    ("A\n```http\nGET /nowhere\n```", "curl"),
])
def test_what_is_wrong_is_found(text, complaint, alone):
    made = pages.parse("page.md", text.replace("A\n", "<!-- test: scenario alone -->\n", 1))
    with pytest.raises(Fault) as found:
        run_blocks(made, lambda _: alone)
    assert complaint.replace("$", "the answer") in str(found.value) and "page.md:" in str(found.value)


def test_what_is_right_is_left_alone(alone):
    run_blocks(pages.parse("page.md", """<!-- test: scenario alone -->
<!-- test: false ends 1 -->
```sh
false        # as it says
touch so
export A=1
cd /
```

<!-- test: then it is so -->
```console
$ echo "$A $PWD took 3.5 s, 12 kB \\
  01m800j41w55wjtygnsegjbn8b"
1 / took 0.1 s, 9.2 MB 01m801kn81h8frvtkt0fgc9aej
$ echo a; echo b; echo c
a
...
c
```
"""), lambda _: alone)


@pytest.fixture(scope="module")
def alone(base):
    made = Alone(base)
    yield made
    if made.machine in machine.Machine.running:
        made.machine.remove()


def test_what_is_not_run_is_there():
    for page, start in NOT_RUN:
        assert any(b.text.startswith(start) for b in pages.page(page).blocks), f"{page} has no block that begins with '{start}' any more"
