"""Deduction from made-up facts and rules: ProntoQA and ProofWriter."""

from intact.checkpoints.download.github import GitHubFile
from intact.tasks.choice import Choice, with_choices
from intact.tasks.data import Row
from intact.tasks.task import Item


class _Logic(Choice):
    """Deduction tasks in the format of Pan et al. 2023, arXiv 2305.12295."""

    source = "teacherpeterpan/Logic-LLM"
    licence = "MIT"
    shots = (
        (
            with_choices(
                "Every wren is a bird. Birds are not heavy. Pip is a wren.\n"
                "Is the following statement true or false? Pip is heavy.",
                ["True", "False"],
            ),
            "Pip is a wren, so Pip is a bird, and birds are not heavy. The statement is false. The answer is B.",
        ),
    )

    def parse(self, row: Row, index: int) -> Item:
        """Format the question with its options, whose own letters are stripped."""
        options = [option.partition(")")[2].strip() for option in row["options"]]
        question = with_choices(f"{row['context'].strip()}\n{row['question'].strip()}", options)
        return Item(row["id"], question, row["answer"])


class ProntoQA(_Logic):
    """ProntoQA (Saparov and He 2022, arXiv 2210.01240), with five steps."""

    name = "prontoqa"
    line = "deduction from made-up facts and rules, true or false"
    files = {"dev": "prontoqa/dev.json"}
    upstream = {
        "dev": GitHubFile(
            "teacherpeterpan/Logic-LLM",
            "d29f1e5e7203e8826cb9c41ba3003e43dc0b9d34",
            "data/ProntoQA/dev.json",
            483_050,
            sha256="2d2e9d0adbef05cd66b51d11516b8fb3d3fb2cbc1664867d1123a000f7b11a5f",
        ),
    }
    words = {"True": "A", "False": "B"}


class ProofWriter(_Logic):
    """ProofWriter (Tafjord et al. 2020, arXiv 2012.13048), with five steps and an open world."""

    name = "proofwriter"
    line = "deduction from facts and rules, true, false or unknown"
    files = {"dev": "proofwriter/dev.json"}
    upstream = {
        "dev": GitHubFile(
            "teacherpeterpan/Logic-LLM",
            "d29f1e5e7203e8826cb9c41ba3003e43dc0b9d34",
            "data/ProofWriter/dev.json",
            541_784,
            sha256="e792b54981065c91d4aecc908be17ce9a730f2327548e6fa36717ef01e472240",
        ),
    }
    words = {"True": "A", "False": "B", "Unknown": "C", "Uncertain": "C"}
