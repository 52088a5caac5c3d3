"""Pictures of reports hold what they are to show: read from the text, lines and places of their SVG."""

import re
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from intact.evaluate.report import figures
from intact.evaluate.report.figures import PlotLine

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture):
    """Each text of a picture and its height above the picture's foot, in order."""
    found = []
    for element in ElementTree.fromstring(picture).iter(f"{SVG}text"):
        place = re.search(r"translate\(\S+ (\S+)\)", element.get("transform", ""))
        found.append(("".join(element.itertext()).strip(), -float(place[1] if place else element.get("y"))))
    return found


def names(picture):
    return [name for name, _ in texts(picture)]


def test_curves_have_names_a_grid_and_numbers_that_are_written_out():
    lines = [PlotLine(f"line {i}", [1, 10, 10_000], [0.1, 0.2, i / 10]) for i in range(8)]
    picture = figures.curves("a name", lines, "samples", "right")
    assert {line.name for line in lines} <= set(names(picture))
    assert {"samples", "right", "1", "10", "10,000", "0%", "100%"} <= set(names(picture))
    ticks = [name for name in names(picture) if re.fullmatch(r"[\d,]+%?", name)]
    assert picture.count("stroke-opacity: 0.25") == len(ticks)
    assert figures.curves("a name", lines, "samples", "right") == picture


@pytest.mark.filterwarnings("error")
def test_names_are_drawn_as_they_are():
    """No font of this machine need have them, and dollar signs are no formula."""
    for name in ("模型", "a$^b$", "$x"):
        assert name in names(figures.curves(name, [PlotLine(name, [1, 2], [0.1, 0.2])], name, "right"))


def test_lines_differ_by_marks_and_dashes():
    styles = [figures._style(i) for i in range(12)]
    assert len({(style["marker"], style["linestyle"]) for style in styles[:6]}) == 6
    assert styles[6:] == styles[:6]


def test_a_frontier_shows_accuracy_up_to_all():
    points = {"one": (900.0, 0.1, 0.0, 0.3), "other": (12_000.0, 0.9, 0.8, 1.0)}
    found = names(figures.frontier("a name", points, ["one"]))
    assert {"one", "other", "tokens a problem", "accuracy", "1,000", "10,000"} <= set(found)
    assert [name for name in found if name.endswith("%")] == ["0%", "20%", "40%", "60%", "80%", "100%"]


def test_a_frontier_fills_and_joins_what_is_on_it():
    points = {"one": (900.0, 0.1, 0.0, 0.3), "other": (12_000.0, 0.9, 0.8, 1.0)}
    filled = [figures.frontier("a name", points, kept) for kept in ([], ["one"], ["one", "other"])]
    assert len(set(filled)) == 3


def test_formats_name_the_front_on_a_logarithmic_axis():
    points = {
        "small": (2.5, 1.0, 0.5, 1.5),
        "between": (4.5, 0.9, 0.8, 1.0),
        "a very long name of a spec": (8.5, 1e-3, -1e-3, 2e-3),
    }
    found = names(figures.formats("a name", points, ["small", "a very long name of a spec"], 4.0))
    assert {"small", "a very long name of…", "bits a weight in memory", "KL divergence, nats"} <= set(found)
    assert "between" not in found
    assert figures.formats("a name", points, ["small"], 4.0) == figures.formats("a name", points, ["small"], 4.0)


def test_honest_confidences_lie_on_a_line_between_the_corners():
    picture = figures.reliability("a name", {"a run": [(0.2, 0.1, 3), (0.9, 0.8, 30)]})
    assert {"honest", "a run", "confidence", "right", "0%", "100%"} <= set(names(picture))


def test_the_rows_of_a_table_of_cells_stand_in_their_order():
    heights = dict(texts(figures.heat("a name", ["first", "second", "third"], [[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]])))
    assert heights["first"] > heights["second"] > heights["third"]
    assert "2 problems, those solved most first" in heights


@pytest.mark.parametrize("name", ["a\x1b[31mb\x00", "a\ud800b", "a\ufffe"])
def test_control_characters_of_names_do_not_reach_pictures(name):
    pictures = [
        figures.curves(name, [PlotLine(name, [1, 2], [0.1, 0.2])], "k", "right"),
        figures.frontier(name, {name: (10, 0.5, 0.4, 0.6)}, [name]),
        figures.reliability(name, {name: [(0.1, 0.5, 4)]}),
        figures.heat(name, [name, "b"], [[0.1, 0.5], [0.2, 0.3]]),
    ]
    for picture in pictures:
        assert any(text.startswith("a\ufffd") for text in names(picture)), "and the picture is XML"


def test_a_linear_axis_has_even_steps():
    picture = figures.curves("a name", [PlotLine("line", [0.5, 1.0], [0.2, 0.4])], "AUROC", "right", linear=True)
    assert {"AUROC", "right", "0.5", "0.6", "0.7", "0.8", "0.9", "1.0"} <= set(names(picture))


def test_bounds_are_drawn_from_top_to_bottom_and_filled_if_they_exclude_zero():
    rows = {"sure": (0.3, 0.1, 0.5), "even": (0.0, -0.2, 0.2), "worse": (-0.2, -0.3, -0.1)}
    picture = figures.bounds("a name", rows, "difference")
    heights = {name: height for name, height in texts(picture) if name in rows}
    assert sorted(rows, key=heights.__getitem__, reverse=True) == list(rows)
    assert "difference" in names(picture)
    open_marks = re.findall(r'<use [^>]*style="fill: #ffffff; stroke: #000000"', picture)
    assert len(open_marks) == 1  # of "even"
