"""Definitions that the JavaScript package has from this one; its own tests run only where it changed."""

from support.modules import load


def test_definitions_of_the_javascript_package_are_those_of_this_one():
    definitions = load("scripts/js_definitions.py")
    assert definitions.FILE.read_text("utf-8") == definitions.text(), "run: python scripts/js_definitions.py"
