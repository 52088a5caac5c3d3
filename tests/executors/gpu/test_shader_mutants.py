"""The list of mutations of the shaders fits their texts; scripts/mutate_shaders.py runs it."""

from collections import Counter

import pytest

from intact.executors.gpu.shaders import shader_file
from support.modules import load

MUTATE = load("scripts/mutate_shaders.py")
LISTED = MUTATE.mutations()


@pytest.mark.parametrize("mutation", LISTED, ids=str)
def test_a_mutation_alters_one_place(mutation):
    text = shader_file(mutation.file)
    assert mutation.altered(text) != text


def test_mutations_differ_and_remove_barriers():
    assert len(LISTED) >= 60
    assert Counter(LISTED).most_common(1)[0][1] == 1
    assert sum("Barrier" in one.old and "Barrier" not in one.new for one in LISTED) >= 7


def test_a_text_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"words\.wgsl: no such text -> .*: occurs 0 times, not once"):
        LISTED[0]._replace(file="words", old="no such text").altered(shader_file("words"))
