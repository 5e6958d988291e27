"""What a search needs before it starts: the text as tokens, the space, the reference, and the run's folder.

Everything that can be wrong with a spec is found here, before any training.
"""

from __future__ import annotations

import dataclasses
import platform
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from depthweave.reports.run import RunInfo
from depthweave.reports.store import RunStore
from depthweave.search.logger_names import check_installed
from depthweave.search.placement import ANYWHERE, Placement
from depthweave.search.spec import Spec, differences
from depthweave.search.spec_file import SpecError, load_spec, parse_spec
from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
from depthweave.spaces.widths import Sizing
from depthweave.trainers import TokenSet, check_can, check_fits, load_corpus, pick_device, tokenise

_SAY_S = 2.0
"""Between two lines about an enumeration."""

_PACKAGES = ("depthweave", "torch", "ray", "optuna")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A search that can start."""

    spec: Spec
    tokens: TokenSet
    space: SearchSpace
    reference: Candidate
    placement: Placement = ANYWHERE
    """Where trials may run; known once Ray is up."""


def prepare(spec: Spec, *, local: bool = True, say: Callable[[str], None] = lambda line: None) -> Setting:
    """Read the text, enumerate the space, name the reference; `ValueError` in one line where that cannot be.

    `local` is whether trials run on this machine, whose device then has to be able to do what the recipe asks.
    `say` hears a line now and then where the space is large.
    """
    check_installed(spec.loggers)
    if local:
        check_can(pick_device(spec.resources.device), recipe=spec.recipe)
    tokens = tokenise(load_corpus(spec.corpus), tokenizer=spec.tokenizer)
    check_fits(tokens, recipe=spec.recipe)
    space = space_of(spec, vocabulary=tokens.vocabulary, say=say)
    reference = space.plain(depth=spec.reference.depth, budget=spec.reference.budget)
    return Setting(spec=spec, tokens=tokens, space=space, reference=reference)


def space_of(spec: Spec, *, vocabulary: int, say: Callable[[str], None] = lambda line: None) -> SearchSpace:
    """The spec's space for a vocabulary; `say` hears how far the enumeration is, every two seconds that it takes."""
    axes = Axes(
        **{name: getattr(spec.space, name) for name in type(spec.space).model_fields},
        vocabulary=vocabulary,
        context=spec.recipe.context,
    )
    said_s = time.monotonic()

    def tell(done: int, of: int) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= _SAY_S:
            said_s = time.monotonic()
            say(f"enumerating the space: {done:,} of {of:,} combinations")

    return enumerate_space(axes, on_progress=tell)


def create_run(setting: Setting, *, out: str | Path) -> RunStore:
    """A new run's folder with its resolved spec; `ValueError` where it already holds a run."""
    spec, space = setting.spec, setting.space
    info = RunInfo(
        run_id=f"{spec.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        name=spec.name,
        created_at=datetime.now(UTC),
        objectives=spec.objectives,
        tolerances=tuple(spec.tolerances[name] for name in spec.objectives),
        reference_id=setting.reference.architecture.id,
        corpus=setting.tokens.corpus,
        corpus_sha256=setting.tokens.corpus_sha256,
        combinations=space.num_combinations,
        distinct=len(space),
        infeasible=tuple(item.reason for item in space.infeasible),
        software=software(),
    )
    store = RunStore.create(out, info=info, spec_yaml=spec.to_yaml())
    if setting.tokens.tokenizer_json is not None:
        store.write_bytes("tokenizer.json", setting.tokens.tokenizer_json.encode())
    return store


def spec_of(store: RunStore) -> Spec:
    """The spec of a run; one from before `space.sizing` keeps the rule by which its architectures were sized."""
    return _sized(parse_spec(store.spec_yaml, where=f"{store.where}/spec.yaml"), otherwise="nearest")


def spec_to_resume(store: RunStore, *, given: Path | None, overrides: Sequence[str]) -> Spec:
    """The spec a run goes on with: its own, with what may change taken from the given one.

    Raises `SpecError` where the given spec differs in anything else, and says where.
    """
    own, where = spec_of(store), f"{store.where}/spec.yaml"
    if given is None:
        wanted = parse_spec(store.spec_yaml, overrides=overrides, where=where)
    else:
        wanted = load_spec(given, overrides=overrides)
    if wanted.recipe.precision == "auto":
        # A run whose spec names one goes on with it: earlier versions wrote float32 where nothing was given.
        recipe = dataclasses.replace(wanted.recipe, precision=own.recipe.precision)
        wanted = wanted.model_copy(update={"recipe": recipe})
    wanted = _sized(wanted, otherwise=own.space.sizing)
    if different := differences(wanted, own):
        more = f" (and {len(different) - 1} more)" if len(different) > 1 else ""
        raise SpecError(f"--resume: the spec differs from the one of {store.where}: {different[0]}{more}")
    return wanted


def _sized(spec: Spec, *, otherwise: Sizing) -> Spec:
    """The spec, with that rule for sizes where it names none."""
    if "sizing" in spec.space.model_fields_set:
        return spec
    return spec.model_copy(update={"space": spec.space.model_copy(update={"sizing": otherwise})})


def check_same_space(store: RunStore, setting: Setting) -> None:
    """Raises `ValueError` where the spec no longer spans the architectures that the run began with."""
    info, ours = store.info, (len(setting.space), setting.reference.architecture.id)
    if ours != (info.distinct, info.reference_id):
        raise ValueError(
            f"{store.where}: its spec spans {ours[0]} architectures with the reference {ours[1]} here, and "
            f"{info.distinct} with {info.reference_id} where it began: go on with the Depthweave that began it, "
            f"or start a new run"
        )


def check_same_text(store: RunStore, tokens: TokenSet) -> None:
    """Raises `ValueError` where the corpus is no longer the one that the run began with."""
    info = store.info
    if info.corpus_sha256 not in ("", tokens.corpus_sha256):
        raise ValueError(
            f"{store.where}: the corpus is {tokens.corpus} {tokens.corpus_sha256[:12]}, the run's was {info.corpus} "
            f"{info.corpus_sha256[:12]}: give the same text, or start a new run"
        )


def software() -> str:
    """Versions of what the numbers depend on."""
    return ", ".join([*(f"{name} {version(name)}" for name in _PACKAGES), f"Python {platform.python_version()}"])
