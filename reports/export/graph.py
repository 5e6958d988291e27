"""The forward pass as a graph that runs without the model's Python source: a torch program or ONNX.

Axes: B batch, T tokens, V vocabulary.

Both take tokens [B, T], int64, of any batch size and any length up to the context, and return logits [B, T, V]. Each
graph is read back from its file and compared with the model.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from depthweave.spaces.unknown_names import unknown_name

if TYPE_CHECKING:
    from torch import Tensor

    from depthweave.spaces import Decoder

GraphFormat = Literal["torch", "onnx"]
GRAPH_FILES: Mapping[GraphFormat, str] = {"torch": "model.pt2", "onnx": "model.onnx"}

_TOLERANCE = 1e-5
"""Of logits, because the graph sums in another order."""
_MAX_BATCH = 2**16


def check_formats(names: tuple[str, ...]) -> tuple[GraphFormat, ...]:
    """Returns the named formats. Raises `ValueError` for an unknown one or one whose packages are missing."""
    known = get_args(GraphFormat)
    found: list[GraphFormat] = []
    for name in names:
        if name not in known:
            raise ValueError(f"{unknown_name('--format', name, known)}; the folder is for transformers in any case")
        found.append("torch" if name == "torch" else "onnx")
    if "onnx" in found:
        _import_onnx()
    return tuple(dict.fromkeys(found))


def write_graph(folder: Path, model: Decoder, *, format: GraphFormat) -> None:
    """Writes `GRAPH_FILES[format]` and compares it with the model. Raises `ValueError` if their logits differ."""
    path = folder / GRAPH_FILES[format]
    compute = _write_torch(path, model) if format == "torch" else _write_onnx(path, model)
    _check_equal(model, compute, name=path.name)


def _write_torch(path: Path, model: Decoder) -> Callable[[Tensor], Tensor]:
    import torch

    program = _program(model)
    # The example inputs would be the only pickle in the file.
    program.example_inputs = None
    torch.export.save(program, path)
    module = torch.export.load(path).module()

    def compute(tokens_BT: Tensor) -> Tensor:
        logits_BTV: Tensor = module(tokens_BT)
        return logits_BTV

    return compute


def _write_onnx(path: Path, model: Decoder) -> Callable[[Tensor], Tensor]:
    import torch

    runtime = _import_onnx()
    with _without_warnings():
        program = torch.onnx.export(
            _program(model), input_names=["tokens"], output_names=["logits"], dynamo=True, verbose=False
        )
    assert program is not None
    # One file with the weights: a second file is easily left behind in a copy.
    program.save(path, external_data=False)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def compute(tokens_BT: Tensor) -> Tensor:
        (logits_BTV,) = session.run(["logits"], {"tokens": tokens_BT.numpy()})
        return torch.from_numpy(logits_BTV)

    return compute


def _program(model: Decoder) -> Any:
    """Returns the forward pass, traced once for all batch sizes and lengths."""
    import torch
    from torch.export import Dim

    context = model.architecture.context
    sizes = {0: Dim("batch", min=1, max=_MAX_BATCH)}
    if context > 1:
        sizes[1] = Dim("tokens", min=1, max=context)
    # Not 0 or 1: torch.export treats these sizes as constants.
    example_BT = torch.zeros(2, min(context, 8), dtype=torch.int64)
    with torch.no_grad(), _without_warnings():
        return torch.export.export(model, (example_BT,), dynamic_shapes={"tokens_BT": sizes})


def _check_equal(model: Decoder, compute: Callable[[Tensor], Tensor], *, name: str) -> None:
    import torch

    a = model.architecture
    generator = torch.Generator().manual_seed(0)
    for shape in ((1, 1), (1, a.context), (3, max(1, a.context // 2))):
        tokens_BT = torch.randint(a.vocabulary, shape, generator=generator)
        with torch.no_grad():
            ours_BTV, theirs_BTV = model(tokens_BT), compute(tokens_BT)
        error = float((ours_BTV - theirs_BTV).abs().max())
        if not error <= _TOLERANCE * max(1.0, float(ours_BTV.abs().max())):
            raise ValueError(f"{name}: logits of {shape} tokens differ by {error:.1e} from the model's: not exported")


def _import_onnx() -> Any:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  # torch's exporter needs it
    except ImportError as error:
        raise ValueError(
            f"--format onnx needs the package {error.name}: install depthweave[onnx], or use --format torch"
        ) from None
    return onnxruntime


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hides the warnings of torch's exporters about unneeded libraries and their own internal calls."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [item.level for item in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for item in loggers:
            item.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for item, level in zip(loggers, levels, strict=True):
                item.setLevel(level)
