"""FOLIO: decide whether a conclusion follows from premises in plain English."""

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.choice import Choice, with_choices
from intact.tasks.data import Row
from intact.tasks.task import Item

CHOICES = ("True", "False", "Uncertain")


class Folio(Choice):
    """FOLIO (Han et al. 2022, arXiv 2209.00840)."""

    name = "folio"
    line = "whether a conclusion follows from premises in plain English"
    source = "Yale-LILY/FOLIO"
    licence = "CC BY-SA 4.0"
    files = {"validation": "folio/folio-validation.jsonl"}
    upstream = {
        "validation": GitHubFile(
            "Yale-LILY/FOLIO",
            "5d7bb84c7edab3fb358e057d2807f19cf5cf5e2d",
            "data/v0.0/folio-validation.jsonl",
            173_456,
            sha256="6922c988ef10987bd6545568ee8e63e897af80994591fa20539767da58f8e3d1",
        ),
    }
    words = {"True": "A", "False": "B", "Uncertain": "C", "Unknown": "C"}
    shots = (
        (
            with_choices(
                "Premises:\nAll poets are dreamers.\nNo dreamer is a banker.\nAda is a poet.\n"
                "Conclusion: Ada is a banker.",
                CHOICES,
            ),
            "Ada is a poet, so she is a dreamer, and no dreamer is a banker. The conclusion is false. The answer is B.",
        ),
    )

    def parse(self, row: Row, index: int) -> Item:
        """Translate the label, which is a word, to the letter of its choice."""
        premises = "\n".join(premise.strip() for premise in row["premises"])
        question = with_choices(f"Premises:\n{premises}\nConclusion: {row['conclusion'].strip()}", CHOICES)
        return Item(str(index), question, self.words[row["label"]])
