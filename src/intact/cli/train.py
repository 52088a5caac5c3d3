"""``intact train``: adapt a model to data, with the same bits on every machine and a receipt of every step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from intact._base.errors import ParameterError
from intact.cli import fetch
from intact.cli.model_option import model_option
from intact.cli.options import JsonOption, ThreadsOption, check_output
from intact.cli.output import emit, note, show_rows, size, spinner, stage_bar
from intact.cli.train_run import Outputs, TrainOptions, run_recipe, run_resumed

if TYPE_CHECKING:
    from intact.train.base import Base
    from intact.train.running import Trained

_COMMON = """\
Tokens, memory, disk and hours, without training
  intact train {task} recipe.toml -m smollm2-135m-instruct --data rows.jsonl --dry-run
"""
SFT_EXAMPLES = """\
An adapter for answers in a format, from 50 conversations
  intact train sft examples/train/lights.toml --to lights
  intact run "It is too dark in the cellar." -m smollm2-135m-instruct --adapter lights/adapter --temperature 0
  intact verify lights/train.receipt --model smollm2-135m-instruct
Other data, as in a folder of mlx-lm (train.jsonl, valid.jsonl), with a plot of the losses
  intact train sft recipe.toml -m ./model.gguf --data ./folder --to run --plot loss.svg
""" + _COMMON.format(task="sft")
PREFERENCE_EXAMPLES = """\
Prefer the chosen answers of a file with prompt, chosen and rejected (DPO; loss_type = "ipo" or "simpo" for others)
  intact train preference recipe.toml -m ./model.gguf --data pairs.jsonl --to run
""" + _COMMON.format(task="preference")
DISTIL_EXAMPLES = """\
Imitate a larger model with the same vocabulary
  intact train distil recipe.toml -m ./small.gguf --teacher ./large.gguf --data rows.jsonl --to run
""" + _COMMON.format(task="distil")
HEADS_EXAMPLES = """\
A classifier on the last hidden row, from rows with text and label
  intact train heads recipe.toml -m ./model.gguf --data labelled.jsonl --to run
""" + _COMMON.format(task="heads")
RECIPE_EXAMPLES = """\
A recipe that says its kind: task = "sft"
  intact train recipe recipe.toml -m ./model.gguf --data rows.jsonl --to run
""" + _COMMON.format(task="recipe")
RESUME_EXAMPLES = """\
Continue after Ctrl-C or a crash; the result has the same bits as if nothing had happened
  intact train resume lights
The same run with the model at another place
  intact train resume lights -m ./model.gguf
"""
EXPORT_EXAMPLES = """\
A folder for PEFT, and a file for llama.cpp
  intact train export lights --to lights-peft
  intact train export lights --form gguf --to lights.gguf
A whole model, in float32 and in 8 bits
  intact train export lights --form merged --to lights-model
  intact train export lights --form merged --type q8_0 --to lights-q8_0.gguf
"""

RecipeArgument = Annotated[Path, typer.Argument(metavar="FILE.toml", help="Recipe (docs/training.md).")]
ModelOverride = Annotated[
    str, model_option("Name, hf:OWNER/REPO or path; by default the recipe's.", show_default=False)
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="PATH", help="JSONL or Parquet file, or a folder; by default the recipe's."),
]
HeldOption = Annotated[Path | None, typer.Option("--held", metavar="FILE", help="File of rows for the held-out loss.")]
ToOption = Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="New folder for the run.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only print tokens, memory, disk and hours, at the speed measured here.")
]
KeepOption = Annotated[
    int, typer.Option("--keep-every", min=0, help="Keep the state of every N-th step, for verifying single steps.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Save a plot of the losses.", show_default=False)
]
BoardOption = Annotated[
    Path | None, typer.Option("--tensorboard", metavar="FOLDER", help="Write TensorBoard files.", show_default=False)
]


def _make_command(task: str | None, summary: str) -> Any:
    """Return the command of a kind of training."""

    def command(
        recipe: RecipeArgument,
        model: ModelOverride = "",
        data: DataOption = None,
        held: HeldOption = None,
        to: ToOption = None,
        dry_run: DryRunOption = False,
        keep_every: KeepOption = 0,
        plot: PlotOption = None,
        tensorboard: BoardOption = None,
        threads: ThreadsOption = None,
        json: JsonOption = False,
    ) -> None:
        outputs = Outputs(plot, tensorboard, json)
        run_recipe(
            TrainOptions(
                recipe,
                task,
                model=model,
                teacher=None,
                data=data,
                held=held,
                to=to,
                dry_run=dry_run,
                keep_every=keep_every,
                threads=threads,
            ),
            outputs,
        )

    command.__doc__ = summary
    return command


sft = _make_command("sft", "Learn to write texts, completions or the assistant's turns.")
preference = _make_command("preference", "Learn to prefer some answers to others: DPO, IPO or SimPO.")
heads = _make_command("heads", "Train a classifier on a model's last hidden row.")


def distil(
    recipe: RecipeArgument,
    model: ModelOverride = "",
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="MODEL", help="The model to imitate; by default the recipe's.")
    ] = "",
    data: DataOption = None,
    held: HeldOption = None,
    to: ToOption = None,
    dry_run: DryRunOption = False,
    keep_every: KeepOption = 0,
    plot: PlotOption = None,
    tensorboard: BoardOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Learn to imitate another model's distributions."""
    outputs = Outputs(plot, tensorboard, json)
    run_recipe(
        TrainOptions(
            recipe,
            "distil",
            model=model,
            teacher=teacher,
            data=data,
            held=held,
            to=to,
            dry_run=dry_run,
            keep_every=keep_every,
            threads=threads,
        ),
        outputs,
    )


recipe = _make_command(None, "Train as a recipe says, which names its kind.")


def resume(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the run.")],
    model: Annotated[str, model_option("The run's model, if it has moved.", show_default=False)] = "",
    teacher: Annotated[str, typer.Option("--teacher", metavar="MODEL", help="The teacher, if it has moved.")] = "",
    keep_every: KeepOption = 0,
    plot: PlotOption = None,
    tensorboard: BoardOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Continue a run that was stopped; changed data, models or versions are refused."""
    run_resumed(
        run, model, teacher=teacher, keep_every=keep_every, threads=threads, outputs=Outputs(plot, tensorboard, json)
    )


def export(
    run: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the run.")],
    to: Annotated[Path, typer.Option("--to", metavar="PATH", help="New file or folder.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--form", help="peft, gguf (adapter or vectors), merged (whole model) or head.", show_default=False
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Option(
            "--type", metavar="SPEC", help="Type of a merged model's matrices, such as q8_0.", show_default=False
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option("--embeddings", metavar="SPEC", help="Type of a merged model's embeddings.", show_default=False),
    ] = None,
    model: Annotated[str, model_option("The run's model, if it has moved.", show_default=False)] = "",
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> None:
    """Export what a run trained for other programs."""
    from intact.train.export import export as write
    from intact.train.running import open_trained

    trained = open_trained(run)
    check_output("--to", None)
    with _base_of(run, model) as base:
        _check_base(trained, base)
        with stage_bar("exporting") as report:
            written = write(
                trained, base, to, form, spec=spec, embeddings=embeddings, threads=threads, progress=report
            )  # fmt: skip
    total = sum(file.stat().st_size for file in to.rglob("*")) if to.is_dir() else to.stat().st_size
    if json:
        emit({"path": str(to), "form": written, "step": trained.state.step, "bytes": total})
        return
    show_rows([("written", str(to)), ("form", written), ("after step", str(trained.state.step)), ("size", size(total))])


def _base_of(run: Path, model: str) -> Base:
    from intact.train.base import Base
    from intact.train.session import load_session

    session = load_session(run)
    name = model or (session.model if session else "")
    if not name:
        raise ParameterError(f"{run} does not say where its model is: give it by -m")
    return Base.open(fetch.locate(name))


def _check_base(trained: Trained, base: Base) -> None:
    """Raise unless a model is the one that was trained; reads its weights."""
    from intact.train.run_folder import read_header

    with spinner(f"checking {base.path.name}"):
        header = read_header(trained.out)
        if header.base != base.digests(trained.settings.hash):
            raise ParameterError(f"{trained.out} is the run of another model than {base.path}")
    if trained.state.step < trained.settings.steps:
        note(f"the run stopped after step {trained.state.step} of {trained.settings.steps}")
