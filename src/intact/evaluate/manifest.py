"""Manifests: digests of everything that a result depends on, such as items, prompts, graders and weights."""

from __future__ import annotations

import errno
import hashlib
import inspect
import json
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from intact._base.errors import IntactError
from intact._base.files import sha256_of
from intact.evaluate.plan import Plan
from intact.reason.backends.base import Backend, Rendering
from intact.reason.backends.native import NativeBackend
from intact.reason.budget import Budget
from intact.reason.driving.driver import template_time
from intact.reason.problem import Prompt
from intact.reason.registry import Method
from intact.reason.thinking import ThinkingMode, common_thinking
from intact.receipts.identity import digests_of, numerics_of
from intact.solving.receipts.versions import versions_of_method, versions_of_task
from intact.solving.run import check_system, check_tokenizer, takes_conversations
from intact.tasks.likelihood import LikelihoodTask
from intact.tasks.task import Item, Task
from intact.text.template import DEFAULT_NOW

USUAL = "int8"
"""The default profile of the command line."""


def run_settings(
    method: Method,
    parameters: Mapping[str, Any],
    sampling: Mapping[str, Any],
    budget: Budget,
    backends: Mapping[str, Backend],
    system: str | None = None,
) -> dict[str, Any]:
    """Return the part of a manifest that does not depend on problems: models, method, budget and prompt settings.

    Parameters
    ----------
    parameters, sampling : mapping
        The values given; the method's defaults fill in the rest.
    backends : mapping of str to Backend
        The models, keyed by the names that they get.
    system : str, optional
        The system message before each question.

    Returns
    -------
    dict
        Includes `system` and `thinking` only if they are given.
    """
    own = not method.function.__module__.startswith("intact.")
    complete = {p.name: parameters.get(p.name, p.default) for p in method.parameters}
    time = template_time(backends.values())
    return {
        "models": [{"name": name, **_model(backend)} for name, backend in backends.items()],
        "method": {
            "name": method.name,
            "parameters": complete,
            "sampling": dict(method.sampling) | dict(sampling),
            "source": sha256_of(Path(inspect.getfile(method.function))) if own else None,
            "versions": versions_of_method(method, complete).to_document(),
            **({"files": files} if (files := _files(complete)) else {}),
        },
        "budget": budget.as_dict(),
        "now": None if time is None else time.isoformat(),
        **_prompts(system, common_thinking(backends.values())),
    }


def _prompts(system: str | None, thinking: ThinkingMode | None) -> dict[str, str]:
    """Return the prompt settings that are given, other than the question and the time."""
    given = {"system": system, "thinking": None if thinking is None else str(thinking)}
    return {name: value for name, value in given.items() if value is not None}


def manifest(plan: Plan, backends: Mapping[str, Backend]) -> dict[str, Any]:
    """Return a run's manifest; models have the names in `backends`.

    Raises
    ------
    ParameterError
        If an option of a task would have no effect with the first model's tokenizer.
    """
    first = next(iter(backends.values()))
    check_system(plan.system, backends.values())
    caveats = [caveat for backend in backends.values() for caveat in backend.caveats]
    caveats += [*check_tokenizer(plan.tasks, backends), *_samples(plan)]
    own = run_settings(plan.method, plan.parameters, plan.sampling, plan.budget, backends=backends, system=plan.system)
    return {
        "models": own["models"],
        "method": own["method"],
        "budget": own["budget"],
        "seeds": list(plan.seeds),
        "tasks": [_task(plan, task, backends.values()) for task in range(len(plan.tasks))],
        "now": own["now"],
        **{name: own[name] for name in ("system", "thinking") if name in own},
        "records": sum(1 for _ in plan.units()),
        "caveats": list(dict.fromkeys(caveats)),
        "command": command(
            plan,
            list(backends),
            profile_of(first),
            continues_of(backends.values()),
            now=own["now"],
            thinking=own.get("thinking"),
            adapter=adapter_of(first),
            mix=mix_of(first),
        ),
    }


def profile_of(backend: Backend) -> str:
    """Return the arithmetic profile of a model; the default one for an endpoint."""
    return backend.model.executor.profile if isinstance(backend, NativeBackend) else USUAL


def adapter_of(backend: Backend) -> Path | None:
    """Return the file or folder of the adapter that a model runs with."""
    return backend.model.own.changed_by if isinstance(backend, NativeBackend) else None


def mix_of(backend: Backend) -> list[str]:
    """Return the options of the mix that a model's completions are sampled from; partners are named by their files."""
    if not isinstance(backend, NativeBackend) or backend.mix is None:
        return []
    partners = [word for partner in backend.partners for word in _option("partner", partner.path.name)]
    return ["--mix", backend.mix.words, *_option("shadow", backend.mix.shadow), *partners]


def _option(name: str, value: object) -> list[str]:
    """Return a command-line option with its value; nothing if the value is None."""
    return [] if value is None else [f"--{name}", str(value)]


def continues_of(backends: Iterable[Backend]) -> str:
    """Return the form in which endpoints continue a partial answer (``--continues``)."""
    return next((found for backend in backends if (found := getattr(backend, "continues", None))), "no")


def command(
    plan: Plan,
    models: Sequence[str],
    profile: str = USUAL,
    continues: str = "no",
    now: str | None = None,
    thinking: str | None = None,
    adapter: Path | None = None,
    mix: Sequence[str] = (),
) -> str:
    """Return the command that reproduces a run; `mix` are the options of its mix."""
    words = ["intact", "eval", models[0], *[chosen.label for chosen in plan.tasks]]
    for name in models[1:]:
        words += _option("with", f"{name}={plan.others.get(name, name)}")
    words += [*_option("adapter", adapter), *mix]
    if any(not isinstance(chosen.task, LikelihoodTask) for chosen in plan.tasks):
        words += _option("method", plan.source)
        for name, value in plan.parameters.items():
            words += _option("set", f"{name}={value}".replace("\n", "\\n"))
        for name, value in plan.sampling.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
    options = {
        "profile": None if profile == USUAL else profile,
        "continues": None if continues == "no" else continues,
        "now": None if now == DEFAULT_NOW.isoformat() else now,
        "system": plan.system,
        "thinking": thinking,
        "limit": plan.limit,
        "seed": None if plan.seeds == (0,) else ",".join(map(str, plan.seeds)),
        "budget": ",".join(f"{name}={value}" for name, value in plan.budget.as_dict().items()) or None,
    }
    return shlex.join([*words, *(word for name, value in options.items() for word in _option(name, value))])


def digest(value: Any) -> str:
    """Return the SHA-256 of a value as JSON with sorted keys."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def grader_digest(task: Task) -> str:
    """Return the SHA-256 of everything that decides a verdict: versions of judging code, and the task's settings."""
    return digest([versions_of_task(task).to_document(), task.settings])


def _files(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of files that parameters name, such as a table or a scorer's checkpoint."""
    found = {}
    for name, value in parameters.items():
        kind, _, place = value.rpartition(":") if isinstance(value, str) else ("", "", "")
        path = Path(place)
        try:
            if (kind or path.suffix) and path.is_file():
                found[name] = sha256_of(path)
            elif kind and path.is_dir():
                files = [file for file in sorted(path.iterdir()) if file.is_file()]
                found[name] = digest([[file.name, sha256_of(file)] for file in files])
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:  # a prompt with a colon in it
                raise
    return found


def _model(backend: Backend) -> dict[str, Any]:
    if not isinstance(backend, NativeBackend):
        return {"identity": backend.identity}
    found, numerics = digests_of(backend.model), numerics_of(backend.model)
    return {
        "weights": found.weights.hex(),
        "tokenizer": found.tokenizer.hex(),
        "template": None if found.template is None else found.template.hex(),
        "architecture": backend.model.program.architecture,
        "context": backend.model.context,
        "numerics": numerics.version,
        "profile": numerics.profile,
        "bits": numerics.bits,
        **({} if backend.mix is None else {"mix": backend.mix.to_document(_roots(backend))}),
    }


def _roots(backend: NativeBackend) -> list[str]:
    """Return the root of the weights of each model in a mix."""
    return [digests_of(partner).weights.hex() for partner in backend.partners]


def _model_input(backend: Backend, prompt: Prompt) -> Any:
    """Return the model's input for a prompt: rendered text, or the messages for an endpoint or if rendering fails."""
    if not isinstance(backend, Rendering):
        return prompt
    try:
        text = backend.render(prompt)
        return [text, "contents are text"] if backend.spells_control_tokens(prompt) else text
    except IntactError:  # the problem will fail with this message
        return prompt


def _samples(plan: Plan) -> Iterator[str]:
    """Yield a caveat for each task that uses a sample of its problems."""
    for chosen in plan.tasks:
        if chosen.sample is not None:
            yield (
                f"{chosen.label} is the sample of the first {chosen.sample} problems of {chosen.task.name} that comes "
                "with this package: its scores are not those of the full set"
            )


def _described(item: Item) -> list[Any]:
    """Return the values that an item's digest covers."""
    return [item.id, item.question, item.answer, item.data, item.secret, *([item.cluster] if item.cluster else [])]


def _task(plan: Plan, task: int, backends: Collection[Backend]) -> dict[str, Any]:
    chosen, items = plan.tasks[task], plan.items[task]
    converses = takes_conversations(next(iter(backends)))
    style, prompts = plan.style(task, converses), [plan.problem_of(task, item, converses).prompt for item in items]
    return {
        "name": chosen.task.name,
        "label": chosen.label,
        "parameters": chosen.parameters,
        "split": chosen.split,
        **({} if chosen.sample is None else {"sample": chosen.sample}),
        "style": style,
        "shots": chosen.shots,
        "stops": list(chosen.task.stops) if style == "base" else [],
        "problems": len(items),
        "versions": versions_of_task(chosen.task).to_document(),
        "digests": {
            "items": digest(list(map(_described, items))),
            "prompts": digest([[_model_input(backend, prompt) for prompt in prompts] for backend in backends]),
            "grader": grader_digest(chosen.task),
        },
    }
