"""The forward pass as a graph: any batch and length, the model's own logits, and refused where it is not."""

from __future__ import annotations

import builtins
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from depthweave.reports.export import check_formats, export
from depthweave.reports.export import graph as graph_module
from depthweave.reports.export.graph import write_graph
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces import Architecture, Decoder, load, strided_wiring
from tests.fusion_names import LAST_OF_FILES, others_are
from tests.reports.export.conftest import ARCHITECTURE, model_of, record_of

_SHAPES = ((1, 1), (2, 16), (5, 7))
needs_onnx = pytest.mark.skipif(
    find_spec("onnxruntime") is None or find_spec("onnxscript") is None,
    reason="onnxruntime or onnxscript is not installed: pip install depthweave[onnx]",
)


def _model(fusion: str) -> Decoder:
    return model_of(
        Architecture(
            fusion=fusion,
            wiring=strided_wiring(3),
            width=16,
            heads=2,
            feed_forward=24,
            vocabulary=40,
            context=16,
        )
    )


def test_export_with_a_graph_gives_the_loaded_models_logits(trained: RunStore, tmp_path: Path) -> None:
    out = export(trained, record_of(), out=tmp_path / "out", formats=("torch",))
    program = torch.export.load(out / "model.pt2").module()
    model = load(out)
    for batch, tokens in _SHAPES:
        tokens_BT = torch.randint(ARCHITECTURE.vocabulary, (batch, tokens))
        with torch.no_grad():
            torch.testing.assert_close(program(tokens_BT), model(tokens_BT), rtol=0, atol=1e-5)
    with pytest.raises((AssertionError, RuntimeError)):
        program(torch.zeros(1, 17, dtype=torch.int64))
    # What torch keeps of example inputs is a pickle.
    archive = zipfile.ZipFile(out / "model.pt2")
    assert not [item for item in archive.infolist() if item.filename.endswith((".pt", ".pkl")) and item.file_size]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fusion", [name for name in LAST_OF_FILES if name != "dwa"])
def test_torch_program_of_every_fusion(fusion: str, tmp_path: Path) -> None:
    model = _model(fusion)
    write_graph(tmp_path, model, format="torch")
    program = torch.export.load(tmp_path / "model.pt2").module()
    for batch, tokens in _SHAPES:
        tokens_BT = torch.randint(40, (batch, tokens))
        with torch.no_grad():
            torch.testing.assert_close(program(tokens_BT), model(tokens_BT), rtol=0, atol=1e-5)


@needs_onnx
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fusion", others_are(pytest.mark.release, fast=LAST_OF_FILES))
def test_onnx_of_every_fusion(fusion: str, tmp_path: Path) -> None:
    import onnxruntime

    model = _model(fusion)
    write_graph(tmp_path, model, format="onnx")
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    for batch, tokens in _SHAPES:
        tokens_BT = torch.randint(40, (batch, tokens))
        (logits_BTV,) = session.run(None, {"tokens": tokens_BT.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits_BTV), model(tokens_BT), rtol=0, atol=1e-5)


def test_graph_that_computes_something_else_is_not_exported(
    trained: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(path: Path, model: Decoder) -> Any:
        path.touch()
        # An error in the last token alone, as a wrong mask would make.
        return lambda tokens_BT: model(tokens_BT).index_add(
            1, torch.tensor([tokens_BT.shape[1] - 1]), torch.full((*tokens_BT.shape[:1], 1, 256), 1e-3)
        )

    monkeypatch.setattr(graph_module, "_write_torch", write)
    with pytest.raises(ValueError, match=r"^model\.pt2: logits of \(1, 1\) tokens differ by 1\.0e-03"):
        export(trained, record_of(), out=tmp_path / "out", formats=("torch",))
    assert not (tmp_path / "out").exists()


def test_unknown_format_and_missing_package_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_formats(("torch", "torch")) == ("torch",)
    with pytest.raises(ValueError, match=r"^--format 'hf' is not known: did you mean '\w+'\? Known: torch, onnx"):
        check_formats(("hf",))
    real = builtins.__import__

    def without(name: str, *others: Any, **named: Any) -> Any:
        if name == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *others, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"needs the package onnxruntime: install depthweave\[onnx\]"):
        check_formats(("onnx",))
