"""docs/from-pytorch.md says what is so: its blocks are run, one after the other, and each section makes a claim that is checked."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "from-pytorch.md"


def test_every_block_of_the_page_holds():
    text = PAGE.read_text(encoding="utf-8")
    names = {"__name__": "page"}
    blocks = list(re.finditer(r"```python\n(.*?)```", text, re.DOTALL))
    assert len(blocks) >= 10
    for block in blocks:
        line = text[:block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)  # so that a failure names its line of the page


def test_every_section_has_a_claim_that_is_checked():
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        assert re.search(r"```python\n(.*?)```", section, re.DOTALL), section.splitlines()[0]
        assert re.search(r"^( *)(assert|with pytest)", section, re.MULTILINE), section.splitlines()[0]
