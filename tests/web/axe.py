"""axe-core, the one that tests/web/axe pins by version and digest, by npm. It is not had: the tests fail."""
import json

from support import npm


def script():
    return (npm.place("axe", "axe-core/axe.min.js") / "node_modules/axe-core/axe.min.js").read_text()


class Axe:
    """look(page) -> what axe finds on it now."""

    def __init__(self):
        self.run = f"""(async () => {{ if (!window.axe) {{ {script()} }}
            const r = await axe.run(document, {{resultTypes: ['violations']}});
            return JSON.stringify(r.violations.map((v) => [v.id, v.help, v.nodes.slice(0, 3).map((n) => n.html + ' ' + n.failureSummary)])); }})()"""

    def look(self, page):
        return json.loads(page.js(self.run))
