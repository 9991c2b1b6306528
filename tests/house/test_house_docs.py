"""What the repository shows is what the program prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tuimon.diagnosis.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
RULES_PAGE = ROOT / "docs" / "rules.md"


def test_the_page_of_the_rules_is_what_explain_prints():
    done = subprocess.run([sys.executable, "-m", "tuimon", "explain", "--markdown"], capture_output=True, text=True, cwd=ROOT, check=True)
    again = "the rules' docstrings have changed; run: tuimon explain --markdown > docs/rules.md"
    assert RULES_PAGE.read_text() == done.stdout, again


def test_the_table_of_the_rules_leads_to_every_page():
    text = RULES_PAGE.read_text()
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^## (.+)$", text, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) == headings
    assert len(headings) == len(RULES)


def test_markdown_is_of_all_rules_and_says_so_where_one_is_named():
    done = subprocess.run([sys.executable, "-m", "tuimon", "explain", "loss-spike", "--markdown"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == "tuimon: --markdown prints all pages: leave out 'loss-spike'\n"
