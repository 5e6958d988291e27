"""Fusions attached to models of plain torch: passes that fail or run at once, copies, refusals.

Axes: B batch, T tokens, D width.
"""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from depthweave.spaces import Architecture, Decoder, Wiring, attach, detach, strided_wiring
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.hosts.attached_layers import attachment_of
from tests.spaces.hosts.tiny_hosts import DEPTH, FUSION_NAMES, WIDTH, PlainBlock, PlainModel, draw, tokens


@torch.no_grad()
def test_dwa_of_a_list_of_layers_is_the_weighted_sum_of_their_states() -> None:
    model = PlainModel()
    fusion = attach(model, "dwa", "2x2")
    draw(fusion)
    state = model.embedding(tokens())
    states = [state]
    for number, block in enumerate(model.blocks, start=1):
        # Not a call, which would apply the site.
        state = PlainBlock.forward(block, state)
        states.append(state)
        if number in (2, 4):
            weights = fusion.get_parameter(f"weights.{number}")
            state = sum(weight * states[2 * place] for place, weight in enumerate(weights))
    torch.testing.assert_close(model(tokens()), model.head(state), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", FUSION_NAMES)
def test_plain_decoder_with_an_attached_fusion_equals_the_decoder_of_that_fusion(name: str) -> None:
    wiring = strided_wiring(DEPTH, dilation=2)
    sizes = {"width": WIDTH, "heads": 2, "feed_forward": 24, "vocabulary": 31, "context": 12}
    expected = Decoder(Architecture(fusion=name, wiring=wiring, **sizes), seed=3)
    host = Decoder(Architecture(fusion="none", wiring=Wiring(DEPTH), **sizes), seed=3)
    fusion = attach(host, name, wiring, seed=3)
    for key, weight in expected.fusion.state_dict().items():
        assert torch.equal(fusion.state_dict()[key], weight)
    draw(fusion)
    expected.fusion.load_state_dict(fusion.state_dict())
    torch.testing.assert_close(host(tokens()), expected(tokens()), rtol=1e-5, atol=1e-5)


def test_first_weights_depend_on_the_seed_alone() -> None:
    def drawn(seed: int) -> Tensor:
        weights = attach(PlainModel(seed=seed + 5), "dwatt", "1xdepth", seed=seed).parameters()
        return torch.cat([weight.detach().flatten() for weight in weights])

    before = torch.get_rng_state()
    first = attach(PlainModel(seed=1), "mudd", "1x1", seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(drawn(1), drawn(2))
    torch.manual_seed(9)
    again = attach(PlainModel(seed=2), "mudd", "1x1", seed=1)
    for key, weight in first.state_dict().items():
        assert torch.equal(again.state_dict()[key], weight)


class _States(nn.Module):
    """Layers that take their states by name and return a tuple, as older models do."""

    def __init__(self) -> None:
        super().__init__()
        self.h = nn.ModuleList(_Named() for _ in range(3))
        self.d_model = WIDTH

    def forward(self, x_BTD: Tensor) -> tuple[Tensor, list[str]]:
        seen = []
        for layer in self.h:
            output = layer(hidden_states=x_BTD, mask=None)
            x_BTD = output.state_BTD
            seen.append(output.word)
        return x_BTD, seen


class _Output(NamedTuple):
    state_BTD: Tensor
    word: str


class _Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden_states: Tensor, mask: None) -> _Output:
        return _Output(hidden_states + self.linear(hidden_states), "kept")


@torch.no_grad()
def test_states_by_name_and_named_tuples_are_handed_on() -> None:
    model = _States()
    x_BTD = torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0))
    expected, _ = model(x_BTD)
    fusion = attach(model, "dwa", "1xdepth", width=WIDTH)
    found, seen = model(x_BTD)
    assert torch.equal(found, expected)
    assert seen == ["kept"] * 3
    fusion.get_parameter("weights.3").copy_(torch.tensor([2.0, 0.0, 0.0, 1.0]))
    torch.testing.assert_close(model(x_BTD)[0], expected + 2 * x_BTD)


@torch.no_grad()
@pytest.mark.parametrize("name", FUSION_NAMES)
def test_states_may_have_any_axes_before_the_last(name: str) -> None:
    model = PlainModel()
    draw(attach(model, name, "1x1"))
    shapes: list[tuple[int, ...]] = [(14,), (2, 7), (2, 1, 7)]
    outputs = [model(tokens().view(shape)).flatten(0, -2) for shape in shapes]
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-5, atol=1e-6)


def test_transformer_encoder_of_torch_is_a_host() -> None:
    layer = nn.TransformerEncoderLayer(WIDTH, 2, 24, dropout=0.0, batch_first=True, norm_first=True)
    model = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    x_BTD = torch.randn(2, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(x_BTD)
    fusion = attach(model, "dwa", "1x1")
    torch.testing.assert_close(model(x_BTD), expected, rtol=1e-5, atol=1e-5)
    model(x_BTD).sum().backward()
    assert all(weights.grad is not None for weights in fusion.parameters())


class _Fails(RuntimeError):
    pass


@torch.no_grad()
def test_failed_pass_leaves_nothing_and_does_not_disturb_the_next() -> None:
    model = PlainModel()
    draw(attach(model, "dwa", "1x1"))
    expected = model(tokens())

    def fail(*_: Any) -> None:
        raise _Fails

    for layer in range(DEPTH):
        handle = model.blocks[layer].register_forward_pre_hook(fail)
        with pytest.raises(_Fails):
            model(tokens())
        handle.remove()
        attachment = attachment_of(model.blocks[0])
        assert attachment is not None
        assert attachment._current.value is None
        assert torch.equal(model(tokens()), expected)
    # A pass that ends between two layers, such as one that is stopped by hand.
    model.blocks[0](model.embedding(tokens()))
    assert torch.equal(model(tokens()), expected)


@torch.no_grad()
def test_threads_and_models_do_not_see_each_others_passes() -> None:
    models = [PlainModel(seed=seed) for seed in (0, 1)]
    for seed, model in enumerate(models):
        draw(attach(model, "dwa", "1x1"), seed=seed)
    inputs = [tokens() + shift for shift in range(4)]
    expected = [[model(given) for given in inputs] for model in models]
    barrier = threading.Barrier(len(inputs))
    for model in models:
        for layer in model.blocks:
            layer.register_forward_hook(lambda *_: (barrier.wait(30), None)[1])
    found: dict[int, list[Tensor]] = {}

    def run(place: int) -> None:
        with torch.no_grad():
            found[place] = [model(inputs[place]) for model in models]

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for place in range(len(inputs)):
        for model in range(2):
            assert torch.equal(found[place][model], expected[model][place])


def _pickled(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    read = torch.load(file, weights_only=False)
    assert isinstance(read, nn.Module)
    return read


@torch.no_grad()
@pytest.mark.parametrize("copied", [copy.deepcopy, _pickled])
def test_copy_of_a_model_has_a_fusion_of_its_own(copied: Callable[[nn.Module], nn.Module]) -> None:
    model = PlainModel()
    fusion = attach(model, "dwa", "1x1")
    draw(fusion)
    expected = model(tokens())
    other = copied(model)
    assert torch.equal(other(tokens()), expected)
    fusion.reset_parameters(torch.Generator())
    assert torch.equal(other(tokens()), expected)
    assert not torch.equal(model(tokens()), expected)
    detach(other)
    assert type(other.get_submodule("blocks.0")) is PlainBlock
    assert torch.equal(model(tokens()), other(tokens()))


def test_layers_keep_their_class_for_every_check_by_name_or_kind() -> None:
    model = PlainModel()
    attach(model, "dwa", "1x1")
    layer = model.blocks[0]
    assert isinstance(layer, PlainBlock)
    assert (type(layer).__name__, type(layer).__module__) == ("PlainBlock", PlainBlock.__module__)
    assert repr(layer).startswith("PlainBlock(")
    # A new layer of that class belongs to no model.
    assert type(layer)()(torch.zeros(1, 2, WIDTH)).shape == (1, 2, WIDTH)


def test_half_type_follows_the_host_and_double_too() -> None:
    for dtype, expected in ((torch.float64, torch.float64), (torch.float16, torch.float32)):
        assert {item.dtype for item in attach(PlainModel().to(dtype), "dwa", "1x1").parameters()} == {expected}


_IN_LAYERS = [name for name, made in FUSIONS.items() if made.carries_residual or made.value_source]
_NOT_ATTACHABLE = [*_IN_LAYERS, "mudd2", "mudd4", "mudd4_norm"]


@pytest.mark.parametrize("name", _NOT_ATTACHABLE)
def test_fusion_that_changes_more_than_states_is_refused_in_one_line(name: str) -> None:
    model = PlainModel()
    before = list(model.state_dict())
    with pytest.raises(
        ValueError, match=rf"^fusion '{name}' cannot be attached: it .* none, dwa, dwatt, concat, mudd"
    ) as e:
        attach(model, name, "1x1")
    assert "\n" not in str(e.value)
    assert list(model.state_dict()) == before
    assert type(model.blocks[0]) is PlainBlock


@torch.no_grad()
def test_several_ways_can_be_attached_after_the_last_layer_where_they_are_one() -> None:
    model = PlainModel()
    expected = model(tokens())
    attach(model, "mudd4", "1xdepth")
    assert torch.equal(model(tokens()), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fusion": "denseformer"}, "fusion 'denseformer' is not known: it is called dwa here"),
        ({"wiring": "3y2"}, "wiring '3y2' is not known"),
        ({"wiring": "first:9 from:9"}, "first:9 from:9"),
        ({"wiring": strided_wiring(5)}, "wiring is one of 5 blocks, and the PlainModel has 4 layers"),
        ({"wiring": "8x1"}, "wiring '8x1' leaves dwa no site that reads an earlier state"),
        ({"layers": "stack"}, "layers is 'stack', which is no part of the PlainModel: .*blocks \\(4 PlainBlock\\)"),
        ({"layers": []}, "layers is empty"),
        ({"layers": [nn.Linear(2, 2)]}, "layers has a Linear that is no part of the PlainModel"),
    ],
)
def test_bad_argument_is_one_line_and_changes_nothing(change: dict[str, Any], message: str) -> None:
    model = PlainModel()
    given: dict[str, Any] = {"fusion": "dwa", "wiring": "1x1", **change}
    with pytest.raises(ValueError, match=message) as caught:
        attach(model, given.pop("fusion"), given.pop("wiring"), **given)
    assert "\n" not in str(caught.value)
    assert type(model.blocks[0]) is PlainBlock
    assert not hasattr(model, "depthweave")


def test_second_fusion_and_missing_one_are_refused() -> None:
    model = PlainModel()
    with pytest.raises(ValueError, match=r"^the PlainModel has no attached fusion: attach one first$"):
        detach(model)
    attach(model, "dwa", "1x1")
    with pytest.raises(ValueError, match=r"^the PlainModel has an attached fusion: detach it first$"):
        attach(model, "dwa", "1x1")
    holder = nn.ModuleDict({"inner": model})
    with pytest.raises(ValueError, match=r"^inner\.blocks\.0 is a layer of a PlainModel with an attached fusion"):
        attach(holder, "dwa", "1x1")
    detach(model)
    attach(holder, "dwa", "1x1")
    with pytest.raises(ValueError, match=r"^model is a Sequential itself: give the module that holds it"):
        attach(nn.Sequential(PlainBlock()), "dwa", "1x1")


def test_layers_out_of_order_or_of_another_width_are_one_line() -> None:
    model = PlainModel()
    attach(model, "dwa", "1x1")
    x_BTD = torch.zeros(1, 2, WIDTH)
    with pytest.raises(RuntimeError, match=r"^layer 2 of 4 was called before layer 1: .* skip none"):
        model.blocks[1](x_BTD)
    model.blocks[0](x_BTD)
    with pytest.raises(RuntimeError, match=r"^layer 3 of 4 was called after layer 1: "):
        model.blocks[2](x_BTD)
    with pytest.raises(ValueError, match=r"^layer 1 was given states of shape \[1, 2, 8\], .* has width 16"):
        model.blocks[0](torch.zeros(1, 2, 8))
    with pytest.raises(TypeError, match=r"^layer 1 was called with a str: an attached fusion needs the states"):
        model.blocks[0]("text")


def test_checkpointing_around_a_layer_is_refused_and_inside_works() -> None:
    model = PlainModel()
    attach(model, "dwa", "1x1")
    x_BTD = model.embedding(tokens())
    for block in model.blocks:
        x_BTD = checkpoint(block, x_BTD, use_reentrant=False)
    with pytest.raises(RuntimeError, match="put gradient checkpointing inside a layer, not around it"):
        x_BTD.sum().backward()
    expected = torch.autograd.grad(model(tokens()).sum(), [*model.depthweave.parameters()])
    for block in model.blocks:
        plain = block.feed_forward.forward
        block.feed_forward.forward = lambda x, plain=plain: checkpoint(plain, x, use_reentrant=False)
    found = torch.autograd.grad(model(tokens()).sum(), [*model.depthweave.parameters()])
    torch.testing.assert_close(found, expected)
