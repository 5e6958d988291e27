"""The measurements of a folder as tables for the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.fusions import TARGETS
from benchmarks.gpu.ledger import Values, read_lines


def tables(folder: Path) -> str:
    """Returns one table a part; the last line of a key counts."""
    parts = {part: _latest(folder / f"{part}.jsonl") for part in _ROWS}
    sections = ["\n".join(_ROWS[part](lines)) for part, lines in parts.items() if lines]
    return "\n\n".join(sections) if sections else f"nothing was measured in {folder}"


def _latest(file: Path) -> dict[str, Values]:
    return {line["key"]: line for line in read_lines(file)}


def _heading(lines: dict[str, Values]) -> str:
    facts = {(it["device"], it["driver"], it["torch"], it["commit"], it["sizes"]) for it in lines.values()}
    return "; ".join(
        f"{device}, driver {driver or 'none'}, torch {torch}, commit {commit}, {sizes} sizes"
        for device, driver, torch, commit, sizes in sorted(facts)
    )


def _check(lines: dict[str, Values]) -> Iterator[str]:
    yield f"**check** ({_heading(lines)})\n\n| check | result | seconds |\n|---|---|---|"
    left_out = {"key", "seconds", "device", "driver", "torch", "commit", "sizes", "at"}
    for key, line in lines.items():
        text = ", ".join(f"{name} {_number(value)}" for name, value in line.items() if name not in left_out)
        yield f"| {key} | {text} | {line['seconds']} |"


def _fusions(lines: dict[str, Values]) -> Iterator[str]:
    yield (
        f"**fusions** ({_heading(lines)}); speed relative to plain, target beside\n\n"
        "| contender | forward | training step | GB forward / step (plain) | first pass and step, s (plain) |\n"
        "|---|---|---|---|---|"
    )
    for key, line in lines.items():
        if "failed" in line:
            yield f"| {key} | {line['failed']} | | | |"
            continue
        aims = TARGETS.get(key.rpartition(", ")[0] if line["sizes"] == "full" else "", (None, None))
        speeds = [_speed(line[f"{what}_speed"], aim) for what, aim in zip(("forward", "step"), aims, strict=True)]
        memory = f"{line['forward_gb']} / {line['step_gb']} ({line['plain_forward_gb']} / {line['plain_step_gb']})"
        yield f"| {key} | {' | '.join(speeds)} | {memory} | {line['first_s']} ({line['plain_first_s']}) |"


def _train(lines: dict[str, Values]) -> Iterator[str]:
    yield (
        f"**train** ({_heading(lines)})\n\n"
        "| beside | ours / it | its tokens a second | ours | share of the matrix product, its / ours |\n"
        "|---|---|---|---|---|"
    )
    for key, line in lines.items():
        if "failed" in line or "flops_per_s" in line:
            text = line.get("failed") or f"{line['flops_per_s'] / 1e12:.1f} TFLOP/s"
            yield f"| {key} | {text} | | | |"
            continue
        speed = _speed(line["ours_speed"], None) if "ours_speed" in line else ""
        ours, shares = (
            line.get("ours_tokens_per_s"),
            [line.get(f"{who}share_of_matrix_product") for who in ("", "ours_")],
        )
        text = " / ".join(f"{share:.3f}" for share in shares if share is not None)
        yield f"| {key} | {speed} | {line['tokens_per_s']:,} | {'' if ours is None else f'{ours:,}'} | {text} |"


def _compare(lines: dict[str, Values]) -> Iterator[str]:
    yield (
        f"**compare** ({_heading(lines)})\n\n"
        "| training | loss | difference to plain, same seed | tokens a second | parameters |\n|---|---|---|---|---|"
    )
    for key, line in lines.items():
        if "failed" in line or "loss" not in line:
            yield f"| {key} | {line.get('failed') or line.get('train_tokens')} | | | |"
            continue
        plain = lines.get(f"plain, {key.rpartition(', ')[2]}", {}).get("loss")
        apart = "" if plain is None or key.startswith("plain") else f"{line['loss'] - plain:+.4f}"
        yield f"| {key} | {line['loss']:.4f} | {apart} | {line['tokens_per_s']:,} | {line['parameters']:,} |"


def _search(lines: dict[str, Values]) -> Iterator[str]:
    yield f"**search** ({_heading(lines)})\n"
    for line in lines.values():
        yield ", ".join(f"{name} {value}" for name, value in line.items() if name not in {"key", "at"})


_ROWS = {"check": _check, "fusions": _fusions, "train": _train, "compare": _compare, "search": _search}


def _speed(interval: list[float], aim: float | None) -> str:
    median, low, high = interval
    text = f"{median:.3f} [{low:.3f}, {high:.3f}]"
    return text if aim is None else f"{text} (at least {aim}: {'reached' if median >= aim else 'missed'})"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
