"""Reward models, on tiny random checkpoints of the very classes, against definitions written out in full."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from intact._base.errors import FormatError, ParameterError, ScorerError
from intact.reason import Piece, Problem, State
from intact.tasks.score.rewards import families, open_reward
from intact.tasks.score.rewards.base import RewardModel
from intact.tasks.score.rewards.native import NativeReward
from intact.tasks.score.scorers import find_scorer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
save_file = pytest.importorskip("safetensors.torch").save_file

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ["<|im_start|>", "<|im_end|>", "<extra_0>", "ки"]
QUESTION = "What is 2 + 3 * 4?"
STEPS = ["First 3 * 4 = 12.", "Then 2 + 12 = 14.", "So it is 14."]


def save_tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIAL)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return fast


def config(**more: Any) -> Any:
    return transformers.Qwen2Config(
        vocab_size=256 + len(SPECIAL),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        pad_token_id=257,
        **more,
    )


def rename(folder: Path, architecture: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"architectures": [architecture]}))


def add_head(folder: Path, head: dict[str, Any], prefix: str = "model.") -> None:
    """Store a backbone's weights with a head's, named as in the published checkpoints."""
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    save_file(
        {f"{prefix}{name}": value for name, value in weights.items()} | head,
        folder / "model.safetensors",
        {"format": "pt"},
    )


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder for each family."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("rewards")
    folders = {name: root / f"tiny-{name}" for name in families()}
    for folder in folders.values():
        save_tokenizer(folder)

    transformers.Qwen2Model(config()).save_pretrained(folders["qwen"])
    shapes = {"score.0.weight": (32, 32), "score.0.bias": (32,), "score.2.weight": (2, 32), "score.2.bias": (2,)}
    add_head(folders["qwen"], {name: torch.randn(shape) / 5 for name, shape in shapes.items()})
    rename(folders["qwen"], "Qwen2ForProcessRewardModel")

    transformers.Qwen2Model(config()).save_pretrained(folders["skywork"])
    add_head(folders["skywork"], {"v_head.summary.weight": torch.randn(1, 32), "v_head.summary.bias": torch.randn(1)})
    rename(folders["skywork"], "Qwen2ForPrmModel")

    for name in ("rlhflow", "rlhflow-outcome", "math-shepherd"):
        transformers.Qwen2ForCausalLM(config(initializer_range=0.5)).save_pretrained(folders[name])
    outcome = transformers.Qwen2ForSequenceClassification(config(num_labels=1, initializer_range=0.5))
    outcome.save_pretrained(folders["outcome"])
    return folders


def opened(checkpoints: dict[str, Path], family: str) -> Any:
    """In floats, which the definitions are written in."""
    reward = open_reward(f"{family}={checkpoints[family]}")
    assert isinstance(reward, NativeReward)
    reward.profile = "fp32"
    return reward


def ids_of(folder: Path, text: str) -> list[int]:
    return list(transformers.AutoTokenizer.from_pretrained(folder).encode(text, add_special_tokens=False))


def chatted(*turns: tuple[str, str]) -> str:
    return "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in turns)


def test_qwens_reward_is_the_second_label_at_each_separator(checkpoints):
    folder = checkpoints["qwen"]
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    backbone = transformers.Qwen2Model(config()).eval()
    backbone.load_state_dict(
        {name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")}
    )
    system = "Please reason step by step, and put your final answer within \\boxed{}."
    answer = "<extra_0>".join(STEPS) + "<extra_0>"
    ids = torch.tensor([ids_of(folder, chatted(("system", system), ("user", QUESTION), ("assistant", answer)))])
    with torch.no_grad():
        hidden = backbone(ids).last_hidden_state
        inner = torch.relu(hidden @ weights["score.0.weight"].T + weights["score.0.bias"])
        chances = torch.softmax(inner @ weights["score.2.weight"].T + weights["score.2.bias"], -1)[..., 1]
    expected = chances[ids == 256 + SPECIAL.index("<extra_0>")].tolist()
    assert len(expected) == 3
    assert opened(checkpoints, "qwen").rewards(QUESTION, STEPS) == pytest.approx(expected, abs=1e-5)


def test_skyworks_reward_is_the_value_at_each_lines_end(checkpoints):
    folder = checkpoints["skywork"]
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    backbone = transformers.Qwen2Model(config()).eval()
    backbone.load_state_dict(
        {name.removeprefix("model."): value for name, value in weights.items() if name.startswith("model.")}
    )
    text = QUESTION + "\n" + "".join(step + "\n" for step in STEPS)
    ids = torch.tensor([ids_of(folder, text)])
    with torch.no_grad():
        values = backbone(ids).last_hidden_state @ weights["v_head.summary.weight"].T + weights["v_head.summary.bias"]
    ends = ids[0] == ids_of(folder, "\n")[0]
    expected = torch.sigmoid(values[0, ends, 0])[1:].tolist()  # the first line is the question's
    assert opened(checkpoints, "skywork").rewards(QUESTION, STEPS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("family", ["rlhflow", "math-shepherd"])
def test_a_language_models_reward_is_the_chance_of_plus_against_minus(checkpoints, family):
    folder = checkpoints[family]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    signs = [ids_of(folder, "+")[0], ids_of(folder, "-")[0]]
    expected = []
    for count in range(1, 4):
        if family == "rlhflow":
            turns = [("user", f"{QUESTION} {STEPS[0]}"), *(("user", step) for step in STEPS[1:count])]
            text = "".join(chatted(turn, ("assistant", "+")) for turn in turns[:-1]) + chatted(turns[-1])
            text += "<|im_start|>assistant\n"
        else:
            text = f"{QUESTION} " + "\n".join(f"{step} ки" for step in STEPS[:count])
        with torch.no_grad():
            logits = model(torch.tensor([ids_of(folder, text)])).logits[0, -1, signs]
        expected.append(torch.softmax(logits, -1)[0].item())
    assert opened(checkpoints, family).rewards(QUESTION, STEPS) == pytest.approx(expected, abs=1e-5)


def test_an_outcome_models_reward_is_the_sigmoid_of_its_number(checkpoints):
    folder = checkpoints["outcome"]
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    text = "\n\n".join(STEPS)
    with torch.no_grad():
        number = model(torch.tensor([ids_of(folder, chatted(("user", QUESTION), ("assistant", text)))])).logits[0, 0]
    reward = opened(checkpoints, "outcome")
    assert reward.split(text) == [text]
    assert reward.rewards(QUESTION, [text]) == [pytest.approx(torch.sigmoid(number).item(), abs=1e-5)]


def state(text: str) -> State:
    return State((("user", QUESTION),), ("p",), (Piece(text),))


PROBLEM = Problem("p", QUESTION)


@pytest.mark.parametrize("family", sorted(families()))
def test_a_text_is_scored_by_its_last_step_whatever_is_scored_beside_it(checkpoints, family):
    scorer = find_scorer(f"reward:{family}={checkpoints[family]}")
    delimiter = families()[family].delimiter
    texts = [delimiter.join(STEPS[:count]) for count in range(1, 4)]
    together = scorer.score(PROBLEM, [state(text) for text in (*texts, "Other.", "")])
    assert all(0 <= score <= 1 for score in together)
    assert len(set(together)) > 2
    alone = [scorer.score(PROBLEM, [state(text)])[0] for text in (*texts, "Other.", "")]
    assert together == pytest.approx(alone, abs=1e-5)
    assert scorer.score(PROBLEM, [state(texts[0] + delimiter)]) == [pytest.approx(together[0], abs=1e-5)]
    assert scorer.score(Problem("q", "Other question"), [state(texts[0])])[0] != together[0]


@pytest.mark.parametrize(("family", "mark"), [("qwen", "<extra_0>"), ("math-shepherd", "ки")])
def test_a_text_cannot_bring_marks_of_its_own(checkpoints, family, mark):
    reward = opened(checkpoints, family)
    forged = reward.rewards(f"{QUESTION}{mark}", [f"{step}{mark}" for step in STEPS])
    assert forged == pytest.approx(reward.rewards(QUESTION, STEPS), abs=1e-5)


def test_families_are_told_by_configuration_or_name(checkpoints):
    for family in ("qwen", "skywork", "outcome", "math-shepherd"):
        assert open_reward(str(checkpoints[family])).family == family
    assert open_reward(f"rlhflow-outcome={checkpoints['rlhflow-outcome']}").split("a\n\nb") == ["a\n\nb"]


def test_what_is_no_reward_model_is_named(checkpoints, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(checkpoints["math-shepherd"], plain)
    with pytest.raises(ParameterError, match=r"family of .* is not recognised"):
        open_reward(str(plain))
    with pytest.raises(ParameterError, match="no family of reward models named 'x'"):
        open_reward(f"x={plain}")
    with pytest.raises(FormatError, match=r"is no qwen reward model: tensor score\.0\.weight is missing"):
        open_reward(f"qwen={plain}").rewards(QUESTION, STEPS)
    with pytest.raises(ParameterError, match="is neither a folder nor a Hub name"):
        open_reward("./nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"config\.json"):
        open_reward(str(tmp_path / "empty"))
    with pytest.raises(ParameterError, match="reward needs a model"):
        find_scorer("reward")


def test_a_text_that_is_too_long_is_named(checkpoints):
    with pytest.raises(ScorerError, match="reads at most 1023 tokens"):
        opened(checkpoints, "outcome").rewards(QUESTION, ["x" * 2000])


def test_another_weight_is_another_digest(checkpoints, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(checkpoints["skywork"], other)
    first = find_scorer(f"reward:skywork={checkpoints['skywork']}").digest
    assert find_scorer(f"reward:skywork={other}").digest == first
    with (other / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert find_scorer(f"reward:skywork={other}").digest != first


def test_a_family_must_say_what_fits_it():
    half: dict[str, Any] = {"rewards": lambda *_: []}
    whole = type("Whole", (RewardModel,), half | {"fits": classmethod(lambda *_: True)})
    assert whole(Path("x")).split("a\n\n b") == ["a", "b"]
    with pytest.raises(TypeError, match="fits"):
        type("Half", (RewardModel,), half)(Path("x"))
