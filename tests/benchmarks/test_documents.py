"""What the pages say in figures: where it is written, how it is checked, and that no two pages disagree."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tinyc.errors import TinycError

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKER = re.compile(r"^<!-- ([a-z-]+): (begin|end) -->$", re.MULTILINE)


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[Any]:
    """The modules of benchmarks/ by name."""

    class Modules:
        def __getattr__(self, name: str) -> ModuleType:
            return importlib.import_module(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield Modules()


@pytest.fixture
def page(benchmarks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(benchmarks.documents, "ROOT", tmp_path)
    monkeypatch.setattr(importlib.import_module("all"), "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(
        "# Page\n\n<!-- sizes: begin -->\n| network | RAM |\n|---|---:|\n| a | 1,000 |\n| b | 2 |\n<!-- sizes: end -->\n\n"
        "It takes 1,000\nbytes, or 2.5 times as many.\n"
    )
    return path


def rows_of(path: Path, section: str) -> list[list[str]]:
    """Cells of the rows of a generated table."""
    text = path.read_text(encoding="utf-8")
    body = text.partition(f"<!-- {section}: begin -->\n")[2].partition(f"<!-- {section}: end -->")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body.splitlines()[2:]]


def test_a_table_is_true_only_as_a_whole(benchmarks: Any, page: Path) -> None:
    section = benchmarks.documents.Section
    rows = ["| a | 1,000 |", "| b | 2 |"]
    assert benchmarks.documents.untrue([section(page, "sizes", rows, "network | RAM")]) == []
    assert any("-| b | 2 |" in line for line in benchmarks.documents.untrue([section(page, "sizes", rows[:1], "network | RAM")]))
    changed = [rows[0], "| b | 3 |"]
    assert any("+| b | 3 |" in line for line in benchmarks.documents.untrue([section(page, "sizes", changed, "network | RAM")]))


def test_some_rows_are_looked_up_one_by_one(benchmarks: Any, page: Path) -> None:
    section = benchmarks.documents.Section
    assert benchmarks.documents.missing_rows([section(page, "sizes", ["| b | 2 |"], "network | RAM")]) == []
    assert benchmarks.documents.missing_rows([section(page, "sizes", ["| b | 3 |"], "network | RAM")]) == [
        "page.md does not say: | b | 3 |"
    ]


def test_a_sentence_is_found_across_lines_and_gets_its_figures(benchmarks: Any, page: Path) -> None:
    statement = benchmarks.documents.Statement
    sentence = "It takes {} bytes, or {} times as many."
    assert benchmarks.documents.untrue([statement(page, sentence, ("1,000", "2.5"))]) == []
    assert benchmarks.documents.untrue([statement(page, sentence, ("1,000", "2.6"))])
    assert benchmarks.documents.write([statement(page, sentence, ("999", "2.6"))]) == [page]
    assert "It takes 999\nbytes, or 2.6 times as many.\n" in page.read_text()


def test_a_sentence_is_compared_also_where_only_some_networks_were_measured(benchmarks: Any, page: Path) -> None:
    statement = benchmarks.documents.Statement
    sentence = "It takes {} bytes"
    assert benchmarks.documents.missing_rows([statement(page, sentence, ("1,000",))]) == []
    assert benchmarks.documents.missing_rows([statement(page, sentence, ("1,001",))])


@pytest.mark.parametrize("sentence", ["It needs {} bytes", "| {} |"])
def test_a_sentence_that_is_not_there_or_there_twice_is_refused(sentence: str, benchmarks: Any, page: Path) -> None:
    with pytest.raises(TinycError, match=re.escape(repr(sentence))):
        benchmarks.documents.write([benchmarks.documents.Statement(page, sentence, ("1",))])


def test_nothing_is_written_where_one_place_is_missing(benchmarks: Any, page: Path) -> None:
    before = page.read_text()
    section = benchmarks.documents.Section
    with pytest.raises(TinycError, match="absent"):
        benchmarks.documents.write([section(page, "sizes", ["| c | 4 |"], "network | RAM"), section(page, "absent", [])])
    assert page.read_text() == before


def test_digits_in_names_are_no_figures(benchmarks: Any) -> None:
    text = "mcunetv2_large: arena 227,200, at -O2 of sha1 a0, 3.5 times, 33 of them."
    found = benchmarks.documents.Statement.printed(Path("page.md"), text)
    assert list(found.figures) == ["227,200", "3.5", "33"]
    assert found.apply(text) == text


def test_a_part_writes_prints_or_checks(benchmarks: Any, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command, documents, measure = importlib.import_module("all"), benchmarks.documents, benchmarks.measure
    ram = {"ds-cnn": 7, "resnet-8": 8}

    def measured(laboratory: object, names: list[str]) -> list[object]:
        return [documents.Section(page, "sizes", [f"| {name} | {ram[name]} |" for name in names], "network | RAM")]

    part = command.Part("sizes", "sizes", tuple(ram), measured)
    before = page.read_text()
    assert command.run_part(part, measure.Laboratory(), ("ds-cnn",), False) == []
    assert "| ds-cnn | 7 |" in capsys.readouterr().out
    assert page.read_text() == before
    assert command.run_part(part, measure.Laboratory(), (), True)
    assert command.run_part(part, measure.Laboratory(), (), False) == []
    assert "| resnet-8 | 8 |" in page.read_text()
    assert command.run_part(part, measure.Laboratory(), (), True) == []
    ram["ds-cnn"] = 9
    assert command.run_part(part, measure.Laboratory(), ("resnet-8",), True) == []
    assert command.run_part(part, measure.Laboratory(), ("ds-cnn",), True) == ["page.md does not say: | ds-cnn | 9 |"]


def test_a_part_that_fails_keeps_no_other_from_being_measured(benchmarks: Any, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = importlib.import_module("all")

    def fails(laboratory: object, names: list[str]) -> list[object]:
        raise TinycError("3 of 10 values differ")

    def measured(laboratory: object, names: list[str]) -> list[object]:
        return [benchmarks.documents.Section(page, "sizes", ["| ds-cnn | 7 |"], "network | RAM")]

    parts = [command.Part(name, name, ("ds-cnn",), measure) for name, measure in (("first", fails), ("second", measured))]
    assert command.run(parts, (), False, False) == 1
    assert "error: first: 3 of 10 values differ" in capsys.readouterr().out
    assert "| ds-cnn | 7 |" in page.read_text()


def test_a_build_is_measured_once_and_held_against_the_recorded_answers(benchmarks: Any) -> None:
    pytest.importorskip("unicorn", reason="estimated cycles need Unicorn")
    cases, measure = benchmarks.cases, benchmarks.measure
    laboratory, case = measure.Laboratory(), cases.example_case()
    build = measure.Build("m7", optimize="size")
    try:
        found = laboratory.measure(case, build)
    except TinycError as error:
        pytest.skip(str(error)) if "not found" in str(error) or "missing" in str(error) else pytest.fail(str(error))
    assert found is laboratory.measure(case, build)
    assert found.samples == measure.FEW_SAMPLES
    assert found.estimated_cycles is not None
    wrong = cases.Case(case.name, case.model, case.inputs, {"litert": case.expected["litert"] + 1})
    with pytest.raises(TinycError, match=r"M7, litert, size: .* differ from the reference"):
        measure.measure(wrong, build)


def test_every_generated_part_of_a_page_is_closed_and_named_once() -> None:
    for path in PAGES:
        found = MARKER.findall(path.read_text(encoding="utf-8"))
        names = [name for name, kind in found if kind == "begin"]
        assert found == [(name, kind) for name in names for kind in ("begin", "end")], path.name
        assert len(set(names)) == len(names), path.name


def test_every_sentence_with_figures_has_its_place(benchmarks: Any) -> None:
    statement, docs = benchmarks.documents.Statement, ROOT / "docs"
    sentences = {
        benchmarks.networks.SENTENCE: docs / "benchmarks.md",
        benchmarks.code_size.SENTENCE: ROOT / "README.md",
        benchmarks.streamed.SENTENCE: docs / "stream-input.md",
        benchmarks.printed.ESTIMATES_SENTENCE: docs / "memory.md",
        benchmarks.cycles.SENTENCE: docs / "profile.md",
    }
    for sentence, path in sentences.items():
        text = path.read_text(encoding="utf-8")
        places = statement(path, sentence, ()).pattern.findall(text)
        assert len(places) == 1, sentence


def test_figures_that_stand_on_two_pages_are_the_same() -> None:
    docs = ROOT / "docs"
    figures = {(row[0], row[1], row[2]): row for row in rows_of(docs / "benchmarks.md", "figures")}
    instructions, cycles, ram, code, image = 3, 5, 10, 12, 13
    assert figures
    for row in rows_of(ROOT / "README.md", "benchmarks"):
        there = figures[row[0], "M7", "litert"]
        assert row[2:6] == [there[ram], there[image], there[instructions], there[cycles]]
    for row in rows_of(docs / "kernels.md", "forms"):
        there = figures[row[0], "M7", "litert"]
        assert [row[2], row[4], row[6]] == [there[instructions], there[cycles], there[code]]
    for row in rows_of(docs / "code-size.md", "code-size"):
        there = figures[row[0], "M4", row[1]]
        assert [row[2], row[8], row[10]] == [there[code], there[ram], there[instructions]]
    for row in rows_of(docs / "stream-input.md", "streamed"):
        there = figures[row[0], "M7", "litert"]
        assert row[1:3] == [there[ram], there[instructions]]
    for row in rows_of(docs / "benchmarks.md", "schedules"):
        there = figures[row[0], "M4", "litert"]
        assert row[1] != "balanced" or row[2:5] == [there[ram], there[image], there[instructions]]


def test_no_page_names_a_script_that_is_not_there() -> None:
    for path in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for script in re.findall(r"(?<!tests/)(?:benchmarks|scripts)/\w+\.\w+", path.read_text(encoding="utf-8")):
            assert (ROOT / script).exists(), f"{path.name}: {script}"
