"""The pages: links lead somewhere, what they name exists, and tables say where they are from."""

from __future__ import annotations

import ast
import contextlib
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from bare_environment import read_requirements
from checkout import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# What stands here was true when it was written.
PAST = {ROOT / "CHANGELOG.md", *(DOCS / "log").glob("*.md")}
PRESENT = [page for page in PAGES if page not in PAST]
PARTS = ("dualtalker", "training", "engines", "benchmarks", "tests", "launch", "config", "docs")


def name_page(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def strip_code(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "", text)


def find_anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    anchors = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchors.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_links_lead_somewhere(page):
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", strip_code(page.read_text("utf-8"))):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=name_page)
def test_no_merge_is_left_unfinished(page):
    assert not re.findall(r"^(?:<<<<<<<|>>>>>>>) .*", page.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", PRESENT, ids=name_page)
def test_files_and_modules_that_a_page_names_exist(page):
    """`training/network/losses.py`, `python -m training.train`, `python benchmarks/stream.py`."""
    text = page.read_text("utf-8")
    files = re.findall(rf"(?:^|[\s`(])((?:{'|'.join(PARTS)})/[\w/.-]+\.\w+)", text)
    modules = re.findall(r"\b-m ((?:dualtalker|training|engines)[\w.]*\w)", text)
    missing = [name for name in files if not (ROOT / name).exists()]
    for name, function in re.findall(r"\b(test_\w+\.py)(?:::(test_\w+))?", text):
        found = [path.read_text("utf-8") for path in (ROOT / "tests").rglob(name)]
        if not any(f"def {function}(" in code if function else code for code in found):
            missing.append(f"{name}::{function}")
    missing += [name for name in modules if find_spec(name) is None]
    assert not missing


def test_every_page_can_be_reached_from_the_readme():
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", strip_code(page.read_text("utf-8")))
        targets = [(page.parent / link).resolve() for link in links if "://" not in link]
        waiting += [target for target in targets if target.is_file()]
    assert set(PAGES) <= seen


def test_the_ros_page_lists_every_counter(tiny):
    from dualtalker.audio import REFUSALS
    from dualtalker.delivery import Delivery
    from dualtalker.stream import Talker
    from dualtalker.stream.faults import KINDS

    with contextlib.closing(Talker(tiny)) as talker:
        delivered = Delivery(talker, paced=True).counters
    page = (DOCS / "ros_api.md").read_text("utf-8")
    assert not [name for name in (*REFUSALS, *KINDS, *delivered) if f"`{name}`" not in page]


def test_glossary_is_in_order_and_leads_to_where_words_are_used():
    entries = re.split(r"^- ", (DOCS / "glossary.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    words = [re.match(r"\*\*(.+?)\*\*", entry)[1].lower() for entry in entries]
    assert len(words) > 30 and words == sorted(words)
    assert not [word for word, entry in zip(words, entries, strict=True) if "](" not in entry]


def read_floors() -> dict[str, int]:
    """The wings of `dualtalker` and the modules below them, with the floor that the page gives."""
    page = (DOCS / "architecture.md").read_text("utf-8")
    floors = re.findall(r"^floor (\d+) +(.+)$", page, re.MULTILINE)
    return {name: int(floor) for floor, names in floors for name in names.split()}


def test_the_house_stands_as_it_is_drawn():
    """Every wing is in the drawing, and every import goes down."""
    folder, floors, rising = ROOT / "dualtalker", read_floors(), []
    present = {path.parent.name for path in folder.glob("*/__init__.py")}
    present |= {path.stem for path in folder.glob("*.py") if not path.stem.startswith("__")}
    assert present == set(floors)
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for parts in (name.split(".") for name in names):
                if own in floors and parts[0] == "dualtalker" and parts[1:2] not in ([], [own]):
                    rising += [name for name in parts[1:2] if floors[name] >= floors[own]]
    assert not rising


def test_the_example_of_the_python_page_runs():
    [example] = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "python_api.md").read_text("utf-8"), re.M | re.S
    )
    names: dict = {}
    exec(compile(example, "python_api.md", "exec"), names)
    assert names["rest"]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorials/robot.md"])
def test_what_rosdep_does_not_install_is_told_to_pip(page):
    """First what the talker node needs, then the rest; numpy comes with ROS."""
    text = (ROOT / page).read_text("utf-8")
    [core, rest] = re.search(
        r"^pip install (onnxruntime[^#\n]*).*\npip install ([^#\n]*)", text, re.MULTILINE
    ).groups()
    assert {*core.split(), "numpy"} == {need.name for need in read_requirements("CORE")}
    assert {need.name for need in read_requirements("COMFORT")} <= set(rest.split())


def test_result_tables_name_command_data_and_commit():
    sections = re.split(r"^## ", (DOCS / "results.md").read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(sections) >= 3
    for section in sections:
        assert "\n|" in section
        assert re.search(r"`python -m \w+\.\w+", section), section[:40]
        assert re.search(r"^- Data: ", section, re.MULTILINE), section[:40]
        assert re.search(r"^- Commit: [0-9a-f]{7}$", section, re.MULTILINE), section[:40]
