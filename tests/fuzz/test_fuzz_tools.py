"""The fuzzing tools work, and a short run finds nothing."""

from __future__ import annotations

import random

from fuzz.judge import judge
from fuzz.mutate_models import mutated, structure_bytes
from fuzz.seeds import seed_models


def test_every_seed_of_the_corpus_compiles_or_is_refused_by_name() -> None:
    outcomes = {name: judge(content) for name, content in seed_models().items()}
    assert len(outcomes) > 80
    compiled = [name for name, outcome in outcomes.items() if outcome == "compiled"]
    assert len(compiled) > 0.8 * len(outcomes), sorted(set(outcomes) - set(compiled))


def test_mutated_seeds_are_refused_or_compiled_and_nothing_else() -> None:
    seeds = list(seed_models().values())
    generator = random.Random(1)
    outcomes = set()
    for number in range(250):
        content = generator.choice(seeds)
        outcomes.add(judge(mutated(content, structure_bytes(content), number)))
    assert "compiled" in outcomes
    assert "refused: ModelError" in outcomes
    assert "refused: UnsupportedError" in outcomes
