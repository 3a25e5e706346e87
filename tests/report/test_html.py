"""The HTML report: one file, nothing from outside, names as text only, and in a browser a buffer is found by pointing at it."""

from __future__ import annotations

import html.parser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from report_cases import HOSTILE, MODEL, example, renamed

from tinyc.cli.main import cli
from tinyc.errors import printable
from tinyc.report.html import report_html
from tinyc.report.memory import MemoryReport

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

POINTER = """<!doctype html><body><iframe id="page" src="{page}"></iframe><pre id="seen"></pre><script>
document.getElementById("page").onload = (event) => {{
  const inner = event.target.contentDocument, seen = [];
  for (const wanted of {wanted}) {{
    const element = inner.querySelector(wanted);
    element.dispatchEvent(new MouseEvent("mouseover", {{bubbles: true}}));
    const rows = [...inner.querySelectorAll("tr.on[id]")].map((row) => row.id).join(" ");
    seen.push(rows + " | " + inner.getElementById("details").textContent);
  }}
  document.getElementById("seen").textContent = seen.join("\\n") + "\\ntitle " + inner.title;
}};
</script>"""
"""A page that points at parts of another one and writes down what is then highlighted."""


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str, of_class: str = "") -> int:
        return sum(name == tag and of_class in [*(attributes.get("class") or "").split(), ""] for name, attributes in self.elements)


def chromium(page: Path, *options: str) -> str:
    """The DOM of `page` after its scripts have run."""
    assert CHROMIUM is not None
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", profile, *options, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_every_step_buffer_and_overlap_is_in_the_picture_and_in_the_table() -> None:
    report = example()
    page = Page(report_html(report))
    assert page.count("g", "band") == len(report.layers)
    assert page.count("g", "buffer") == len(report.buffers)
    assert page.count("g", "shared") == len(report.overlaps)
    assert page.count("path", "stream") == sum(layer.streamed for layer in report.layers) > 0
    assert {attributes["id"] for tag, attributes in page.elements if tag == "tr" and "id" in attributes} == {
        f"b{number}" for number in range(len(report.buffers))
    }


def test_boxes_lie_where_the_buffers_lie() -> None:
    report = example()
    text = report_html(report)
    for number, buffer in enumerate(report.buffers):
        found = re.search(rf'data-buffer="{number}" tabindex.*?<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', text, re.DOTALL)
        assert found is not None
        scale = 620 / report.ram.arena_bytes
        assert float(found[1]) == pytest.approx(300 + buffer.offset * scale, abs=0.01)
        assert float(found[2]) == pytest.approx(max(buffer.bytes * scale, 1.0), abs=0.01)


def test_nothing_is_loaded_from_anywhere() -> None:
    page = Page(report_html(example()))
    assert not {"link", "img", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name in ("src", "href", "xlink:href", "style")]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    policy = next(attributes["content"] for tag, attributes in page.elements if attributes.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "http" not in report_html(renamed(example(), "plain")).replace("http-equiv", "")


def test_a_hostile_name_is_text_and_adds_no_element() -> None:
    plain, hostile = Page(report_html(renamed(example(), "plain"))), Page(report_html(renamed(example(), HOSTILE)))
    assert [tag for tag, _ in hostile.elements if tag != "text"] == [tag for tag, _ in plain.elements if tag != "text"]
    assert hostile.count("script") == 1
    assert printable(HOSTILE, 60) in hostile.text
    assert "\x1b" not in hostile.text
    assert "\u202e" not in hostile.text


def test_the_same_report_gives_the_same_page() -> None:
    assert report_html(example()) == report_html(example())


def written(report: MemoryReport, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(report_html(report), encoding="utf-8")
    return path


@needs_chromium
def test_in_a_browser_pointing_at_a_buffer_highlights_its_row_and_says_what_it_is(tmp_path: Path) -> None:
    report = example()
    page = written(report, tmp_path)
    overlap = report.overlaps[0]
    pair = sorted((overlap.result, overlap.source), reverse=True)
    wanted = ['svg .buffer[data-buffer="2"]', "tr#b5", f'svg .shared[data-buffer="{pair[0]} {pair[1]}"]', "h1"]
    probe = tmp_path / "probe.html"
    probe.write_text(POINTER.format(page=page.as_uri(), wanted=wanted), encoding="utf-8")
    seen = re.search(r'<pre id="seen">(.*?)</pre>', chromium(probe, "--disable-web-security", "--allow-file-access-from-files"), re.DOTALL)
    assert seen is not None
    box, row, shared, nothing, _ = seen[1].split("\n")
    for line, number in ((box, 2), (row, 5)):
        assert line.startswith(f"b{number} | ")
        assert f"bytes {report.buffers[number].offset:,} to {report.buffers[number].end:,}" in line
    assert set(shared.partition(" | ")[0].split()) == {f"b{overlap.result}", f"b{overlap.source}"}
    assert f"{overlap.bytes:,} bytes shared" in shared
    assert nothing.startswith(" | Point at a buffer")


@needs_chromium
def test_in_a_browser_a_hostile_name_runs_nothing(tmp_path: Path) -> None:
    dom = chromium(written(renamed(example(), HOSTILE), tmp_path))
    title = re.search(r"<title>(.*?)</title>", dom, re.DOTALL)
    assert title is not None
    assert title[1].startswith("&lt;/title&gt;")
    assert "<img" not in dom


def test_the_command_writes_one_file_and_prints_it_without_output(tmp_path: Path) -> None:
    arguments = ["memory-report", str(MODEL), "-t", "stm32h743", "--format", "html"]
    result = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "a.html")], catch_exceptions=False)
    assert result.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    printed = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert printed.output == (tmp_path / "a.html").read_text(encoding="utf-8")
