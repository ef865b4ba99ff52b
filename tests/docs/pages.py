"""The pages of the documentation, as the tests see them: their blocks with what comments say of them, headings, links, and
what is named in their prose. Nothing is run here; tests/docs/README.md explains the comments to authors."""
import dataclasses
import functools
import re

from support.shell import PROJECT

KINDS = {
    "sh": "commands, run in the page's scenario",
    "console": "`$ commands`, run, and what they print, compared",
    "sql": "statements, run by psql in the page's scenario",
    "python": "run, with what the scenario gives",
    "yaml": "a part of the file that its first line names in a comment, checked by the program that reads it",
    "http": "requests, one in a line: METHOD PATH BODY",
    "json": "what the block before prints, or a body that the scenario compares",
    "ini": "a part of a file that is not pgseal's",
    "text": "to look at: no commands, nothing to copy",
}
FENCE = re.compile(r"^( *)```(\S*)\s*$")
MARK = re.compile(r"^ *<!-- test: (.*?) -->\s*$")


def names():
    """The pages, README first; by their paths from the project's top."""
    found = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md")),
             *sorted((PROJECT / "deploy").rglob("*.md"))]
    return [str(p.relative_to(PROJECT)) for p in found]


@dataclasses.dataclass
class Block:
    page: str
    line: int  # of its fence
    kind: str
    text: str
    marks: list  # what comments before it say of it alone
    scenario: str = ""  # what the last `scenario` comment above it says

    @property
    def where(self):
        return f"{self.page}:{self.line}"

    @property
    def name(self):
        """Of `# NAME ...` in its first line, by which tests ask for it."""
        found = re.match(r"# (\w+)", self.text)
        return found.group(1) if found else None

    def mark(self, word):
        """What a mark says after its first words; None if it is not there."""
        return next((m[len(word):].strip() for m in self.marks if m == word or m.startswith(word + " ")), None)


@dataclasses.dataclass
class Page:
    name: str
    blocks: list
    prose: list  # (line, text) of what is in no block
    anchors: set
    indented: list  # lines of code that is indented rather than fenced
    unclosed: list

    def block(self, name):
        found = [b for b in self.blocks if b.name == name]
        assert len(found) == 1, f"{self.name} has {len(found)} blocks that begin with the comment '# {name}'"
        return found[0].text


def _anchor(heading, taken):
    """As GitHub makes it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    base = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
    anchor, n = base, 0
    while anchor in taken:
        n += 1
        anchor = f"{base}-{n}"
    return anchor


@functools.lru_cache(None)
def page(name):
    return parse(name, (PROJECT / name).read_text())


def parse(name, text):
    lines = text.split("\n")
    made = Page(name, [], [], set(), [], [])
    marks, scenario, i, blank = [], "", 0, True
    while i < len(lines):
        line = lines[i]
        fence, mark = FENCE.match(line), MARK.match(line)
        if fence:
            indent, end = len(fence.group(1)), i + 1
            while end < len(lines) and not re.match(r"^ *```\s*$", lines[end]):
                end += 1
            if end == len(lines):
                made.unclosed.append(i + 1)
            text = "".join(inner[indent:] + "\n" for inner in lines[i + 1:end])
            made.blocks.append(Block(name, i + 1, fence.group(2), text, marks, scenario))
            marks, i = [], end
        elif mark:
            if mark.group(1).startswith("scenario "):
                scenario = mark.group(1).split(None, 1)[1]
            else:
                marks.append(mark.group(1))
        else:
            if re.match(r"^\s{4,}\S", line) and blank and not _in_list(lines, i):
                made.indented.append(i + 1)
            heading = re.match(r"^#+ (.*)", line)
            if heading:
                made.anchors.add(_anchor(heading.group(1), made.anchors))
            made.prose.append((i + 1, line))
        blank = not line.strip()
        i += 1
    return made


def _in_list(lines, i):
    """Whether the indented line belongs to an item of a list above it."""
    indent = len(lines[i]) - len(lines[i].lstrip())
    while i > 0:
        i -= 1
        item = re.match(r"^( *)([-*]|\d+\.) +", lines[i])
        if item and len(item.group(0)) <= indent < len(item.group(0)) + 4:
            return True
        if lines[i].strip() and not lines[i].startswith(" "):
            return False
    return False


def pages():
    return [page(n) for n in names()]


def paragraphs(made):
    """(line, text) of each paragraph, its lines joined: what is quoted may go on in the next line."""
    start, text = 0, ""
    for line, part in made.prose + [(0, "")]:
        if part.strip() and not (part.lstrip().startswith(("|", "#", "- ")) and text):
            start, text = start or line, f"{text} {part.strip()}"
            continue
        if text:
            yield start, text
        start, text = (line, part.strip()) if part.strip() else (0, "")
        if part.lstrip().startswith(("|", "#")) and part.strip():
            yield start, text
            start, text = 0, ""


def spans(made):
    """(line, text) of all that stands between backticks in the prose."""
    for line, text in paragraphs(made):
        for found in re.finditer(r"(`+)(.+?)\1", text):
            yield line, found.group(2).replace("\\|", "|").strip()


def links(made):
    """(line, text, target)"""
    for line, text in made.prose:
        for found in re.finditer(r"\[([^\]]*)\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", lambda m: "x" * len(m.group(0)) if "](" in m.group(0) else m.group(0), text)):
            yield line, found.group(1), found.group(2)


def commands(text):
    """The commands of a shell text, roughly: continued lines joined, comments away, cut at what separates commands."""
    text = re.sub(r"\\\n\s*", " ", text)
    text = re.sub(r"(^|\s)#.*", "", text)
    return [part.strip() for part in re.split(r"\|\||&&|[|;\n(){}]|\s--\s", text) if part.strip()]
