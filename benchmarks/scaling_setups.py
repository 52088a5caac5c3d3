"""The rows of scaling.py: methods with their parameters, in groups that are measured together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

GREEDY = {"temperature": 0.0}


class Setup(NamedTuple):
    """A method with its parameters; rows of one line differ only in size."""

    line: str
    method: str
    parameters: Mapping[str, Any]
    sampling: Mapping[str, Any] = {}


def sizes(line: str, method: str, counts: Sequence[int], **parameters: Any) -> dict[str, Setup]:
    """Return the rows of a line."""
    return {f"{line} {n}": Setup(line, method, {"n": n} | parameters) for n in counts}


def single(line: str, method: str, **parameters: Any) -> dict[str, Setup]:
    """Return a row without a line."""
    return {line: Setup(line, method, parameters)}


def greedy(line: str, method: str, **parameters: Any) -> dict[str, Setup]:
    """Return a row with one greedy text."""
    return {line: Setup(line, method, parameters, GREEDY)}


POOL = {
    **greedy("greedy", "chain_of_thought"),
    **sizes("self-consistency", "self_consistency", (4, 16, 64)),
    **sizes("best-of-n by likelihood", "best_of_n", (4, 16, 64)),
    **sizes("best-of-n by P(true)", "best_of_n", (16,), scorer="p_true"),
    **sizes("weighted best-of-n by P(true)", "weighted_best_of_n", (16,), scorer="p_true"),
    **sizes("RPC", "rpc", (16, 64)),
    **sizes("best-of-majority", "best_of_majority", (16,)),
    **sizes("adaptive consistency", "adaptive_consistency", (64,), batch=4),
    **sizes("early stopping", "early_stopping_consistency", (64,)),
    **sizes("first finish", "first_finish", (8,)),
    **single("short-3@8", "short_m_at_k", k=8, m=3),
    **single("short-8@16", "short_m_at_k", k=16, m=8),
    **sizes("particle filter", "particle_filter", (4, 16)),
}
CHOOSERS = {  # of texts that self-consistency draws as well
    **sizes("best-of-n by equations", "best_of_n", (16,), scorer="equations"),
    **sizes("weighted best-of-n by likelihood", "weighted_best_of_n", (16,)),
    **sizes("majority of bests", "majority_of_bests", (16,)),
    **sizes("length vote", "length_vote", (16,)),
    **sizes("marker vote", "marker_vote", (16,)),
    **sizes("last finish", "last_finish", (8,)),
}
TESTS = {  # of tasks whose problems have public tests
    **sizes("best-of-n by tests", "best_of_n", (2, 4, 8, 16), scorer="unit_tests"),
    **sizes("best-of-n by verification", "best_of_n", (2, 4, 8), scorer="verification"),
    **sizes("best-of-n by P(true)", "best_of_n", (4,), scorer="p_true"),
}
TOOLS = {
    **greedy("program-aided, greedy", "program_aided", n=1),
    **greedy("interleaved code, greedy", "interleaved_code", n=1),
    **greedy("code verification, greedy", "code_verification", n=1),
    **sizes("program-aided", "program_aided", (4,)),
    **sizes("interleaved code", "interleaved_code", (4,)),
    **sizes("code verified", "code_verified", (4,)),
    **sizes("collaborative verification", "collaborative_verification", (4,)),
}
LOGIC = {
    **sizes("LINC", "linc", (5,)),
    **sizes("LINC without a grammar", "linc", (5,), constrained=False, redraws=0),
    **sizes("scratchpad", "linc", (5,), way="scratchpad"),
    **sizes("naive", "linc", (5,), way="naive"),
}
JUDGES = {
    **sizes("judge selection", "judge_selection", (4,), checks=1),
    **sizes("pairwise selection", "pairwise_selection", (4,), most=2),
    **sizes("generative verifier", "generative_verifier", (4,), checks=1),
    **sizes("resample until verified", "resample_until_verified", (4,), scorer="verification"),
    **sizes("adaptive sampling", "adaptive_sampling", (4,)),
    **sizes("early pruning", "early_pruning", (8,)),
    **sizes("forward-backward", "forward_backward", (4,), masks=1, chains=1),
    **single("solve or verify", "solve_or_verify", budget=8),
}
STEPS = {  # where `max_tokens` is the most of a step, so that texts need a cap: --budget text=512
    **sizes("beam search", "beam_search", (4,), width=2),
    **sizes("DVTS", "dvts", (4,), width=2),
    **sizes("REBASE", "rebase", (4,)),
    **sizes("early rejection", "early_rejection", (4,), width=2),
    **sizes("SMC", "smc", (4,)),
    **sizes("entropic particle filter", "entropic_particle_filter", (4,)),
    **sizes("particle Gibbs", "particle_gibbs", (2,), sweeps=2),
    **sizes("ancestor Gibbs", "ancestor_gibbs", (2,), sweeps=2),
    **sizes("path top-p", "path_top_p", (4,)),
    **single("A*", "a_star", k=2, expansions=8),
    **single("UCT", "uct_search", simulations=4, width=2),
    **single("PUCT", "puct_search", simulations=4, width=2),
    **single("tree of thoughts", "tree_of_thoughts", k=2, width=2, checks=1),
    **single("step choice", "step_choice", k=2),
    **single("step guidance", "step_guidance"),
    **sizes("MUR", "mur", (2,)),
    **single("phi decoding", "phi_decoding", k=4, width=2),
    **single("CoT decoding", "cot_decoding", k=4),
}
REVISIONS = {
    **single("self-refine", "self_refine", rounds=2),
    **sizes("critique and revise", "critique_and_revise", (2,), rounds=1),
    **sizes("AB-MCTS", "ab_mcts", (4,)),
    **sizes("iterated answers", "iad", (2,), rounds=2),
    **sizes("PRISM", "prism", (3,), rounds=1),
    **sizes("mixture of agents", "mixture_of_agents", (3,), layers=2),
    **single("archon", "archon", layers="generate 3, critique, rank 2, fuse 1"),
    **sizes("plan search", "plan_search", (4,), observations=2, levels=1),
    **sizes("plangen", "plangen", (2,), rounds=1),
    **single("syzygy of thoughts", "syzygy_of_thoughts", betti=2, solutions=2),
    **sizes("think and execute", "think_and_execute", (4,)),
    **sizes("hogwild", "hogwild", (2,)),
}
OTHERS = {  # the windows of DeepConf and the cues of TrimR are made for texts of 300 tokens without tags
    **sizes("self-certainty", "self_certainty", (8,), vocabulary=151_936),
    **sizes("DeepConf-high", "deepconf", (8,), keep=90, window=32),
    **sizes("DeepConf-low", "deepconf", (8,), keep=10, window=32),
    **sizes("DeepConf online", "deepconf_online", (8,), warmup=4, keep=90, window=32, batch=2, stride=32),
    **sizes("adaptive settings", "diff_adapt", (4,)),
    **sizes("step pruning", "step_pruning", (4,)),
    **single("told that it is wrong", "rise", turns=3),
    **single("budget forcing", "budget_forcing", thinking=512, waits=1),
    **single("TrimR", "trimr", cue="\nFinal Answer:"),
    **single("pattern agent", "pattern_agent", domain="mathematics", steps=4),
}
PAIRS = {  # of a model and a larger one, `--large`
    **single("entropy decoding", "entropy_decoding"),
    **single("arbitrage", "arbitrage", scorer="p_true"),
    **single("GlimpRouter", "glimp_router"),
    **sizes("AB-MCTS-M", "ab_mcts_m", (4,), models="main, large"),
}
RETRIEVED = {  # with a collection of passages, or a memory of concepts, `--set file=FILE`
    **greedy("retrieval, greedy", "retrieval"),
    **greedy("iterative retrieval, greedy", "iterative_retrieval", rounds=2),
    **greedy("concept memory, greedy", "concept_memory", n=1),
}
CHOICES = {  # of questions with choices
    **sizes("choice shuffling", "choice_shuffling", (4,)),
}
PROOFS = {
    **sizes("proof repair", "proof_repair", (8,), tries=1, rounds=1),
    **sizes("draft, sketch, prove", "draft_sketch_prove", (8,), tries=1),
    **sizes("proof search", "proof_search", (8,), steps=16),
}
VALUED = {  # by known values of prefixes, with noise; the file is --values
    f"{line} by values {quality:g}": Setup(line, method, {"n": 4, "scorer": f"prefix_value:{quality:g}=", **more})
    for quality in (0.6, 0.75, 0.9)
    for line, method, more in (
        ("beam search", "beam_search", {"width": 2}),
        ("DVTS", "dvts", {"width": 2}),
        ("REBASE", "rebase", {}),
        ("SMC", "smc", {}),
        ("particle filter", "particle_filter", {}),
    )
}
GROUPS: Mapping[str, Mapping[str, Setup]] = {
    "pool": POOL,
    "choosers": CHOOSERS,
    "tests": TESTS,
    "tools": TOOLS,
    "logic": LOGIC,
    "judges": JUDGES,
    "steps": STEPS,
    "revisions": REVISIONS,
    "others": OTHERS,
    "pairs": PAIRS,
    "retrieved": RETRIEVED,
    "choices": CHOICES,
    "proofs": PROOFS,
    "values": VALUED,
}
SETUPS: Mapping[str, Setup] = {name: setup for group in GROUPS.values() for name, setup in group.items()}
