"""What `depthweave train` is about to train: architecture, recipe and text, and how they relate to the export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from depthweave.reports.analysis.training_tokens import ratio_of, ratio_phrase
from depthweave.reports.export import Training, read_training
from depthweave.reports.formatting import blocks_text
from depthweave.search.commands.corpus import corpus_spec, tokens_for
from depthweave.search.commands.recipe import RecipeOptions, recipe_for, recorded_recipe
from depthweave.search.spec.sources import text_sentence
from depthweave.spaces import WiringRule, read_architecture, read_rule, resize
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import costs_of
from depthweave.trainers import CorpusSpec, Evaluation, Recipe, TokenSet, TrainingState


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the command line says about the training."""

    corpus: str | None
    width: int | None
    depth: int | None
    recipe: RecipeOptions

    @property
    def further(self) -> bool:
        """Whether the training starts from the weights of the export."""
        return self.recipe.further


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A training that can start."""

    architecture: Architecture
    rule: WiringRule | None
    recipe: Recipe
    tokens: TokenSet
    corpus_spec: CorpusSpec
    recorded: Training | None
    """The training of the export that the architecture comes from."""
    how: str
    """How this training relates to the recorded one, as `training.yaml` and the model card say it."""
    repeats: bool
    """Whether this repeats the recorded training."""


def plan_training(file: Path, *, options: TrainOptions, say: Callable[[str], None]) -> TrainPlan:
    """Returns the plan for the architecture in `file`; `say` gets a line about the text before it is read."""
    original, rule = read_architecture(file), read_rule(file)
    resized = resize(original, rule=rule, width=options.width, depth=options.depth)
    if resized.note:
        say(resized.note)
    architecture, further = resized.architecture, options.further
    if further and architecture != original:
        raise ValueError("--further starts from the weights of the export: leave out --width and --depth")
    recorded = read_training(file.parent)
    recipe = recipe_for(architecture, options=options.recipe, recorded=recorded, recorded_width=original.width)
    spec = corpus_spec(options.corpus, recorded=recorded)
    say(text_sentence(spec, named_by="--corpus"))
    tokens = tokens_for(spec, architecture=architecture, folder=file.parent, recorded=recorded, say=say)
    repeats = (
        recorded is not None
        and not (further or recorded.from_weights)
        and recipe == recorded_recipe(recorded)
        and (architecture.id, tokens.corpus_sha256) == (recorded.architecture_id, recorded.corpus_sha256)
    )
    how = "further from" if further else "resized from" if architecture != original else "from scratch as"
    return TrainPlan(
        architecture=architecture,
        rule=resized.rule,
        recipe=recipe,
        tokens=tokens,
        corpus_spec=spec,
        recorded=recorded,
        how="again as" if repeats else how,
        repeats=repeats,
    )


def plan_lines(plan: TrainPlan, state: TrainingState) -> list[str]:
    """Returns lines that say what is about to be trained, and how it differs from the export."""
    a, recipe, recorded = plan.architecture, plan.recipe, plan.recorded
    known = costs_of(a)
    ratio = ratio_of(recipe.tokens, parameters=known.parameters + known.embedding_parameters)
    lines = [
        f"{a.fusion}, {blocks_text(a.depth, a.block)}, width {a.width} on {plan.tokens.corpus}: {recipe.steps} steps "
        f"of {recipe.tokens_per_step} tokens, {ratio_phrase(ratio)}, learning rate {recipe.learning_rate:g}, "
        f"from step {state.step}"
    ]
    if plan.repeats:
        lines.append("the recorded training again: same architecture, recipe, seed and text")
    elif recorded is not None and plan.tokens.corpus_sha256 != recorded.corpus_sha256:
        lines.append(
            f"not the text of the export: that was {recorded.corpus} {recorded.corpus_sha256[:12]}, this is "
            f"{plan.tokens.corpus} {plan.tokens.corpus_sha256[:12]}"
        )
    return lines


def loss_comparison(plan: TrainPlan, last: Evaluation) -> str:
    """Returns how the final loss compares with the recorded one; empty unless the recorded training is repeated."""
    if not plan.repeats or plan.recorded is None:
        return ""
    if last.loss == plan.recorded.loss:
        return ", the recorded loss bit for bit"
    return (
        f"; the loss is {last.loss!r}, the recorded loss is {plan.recorded.loss!r} on {plan.recorded.hardware} "
        f"({plan.recorded.software})"
    )
