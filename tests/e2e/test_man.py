"""The manual pages, which are made of what the programs say of themselves."""
import re

from support.shell import BIN, PROJECT, run

MACROS = (".TH", ".SH", ".SS", ".nf", ".fi", ".BR")


def test_manual_pages(tmp_path):
    run([PROJECT / "make/man", BIN, tmp_path])
    pages = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(pages) == {"pgseal.1", "pgseal-coordinator.8", "pgseal-agent.8"}
    for name, text in pages.items():
        for line in text.splitlines():
            assert line[:1] not in (".", "'") or line.split(" ")[0] in MACROS, (name, line)
        assert text.startswith(f".TH {name[:-2].upper()} {name[-1]} ") and "\\-\\-help" in text
    listed = run([BIN / "pgseal", "--help"]).stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    commands = [line[2:19].strip() for line in listed]
    assert "ledger rebuild" in commands and len(commands) > 40
    assert re.findall(r"^\.SS (.*)$", pages["pgseal.1"], re.M) == commands
    assert pages["pgseal.1"].count("\nUsage: pgseal") > len(commands)
