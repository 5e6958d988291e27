"""Lists of layers are found by their usual names, in models of transformers and others; the rest is one line."""

from __future__ import annotations

import pytest
from torch import nn

from depthweave.spaces.hosts.layer_lists import find_layers, width_of
from tests.spaces.hosts.tiny_hosts import DEPTH, FAMILIES, LAYER_PATHS, WIDTH, PlainBlock, PlainModel, tiny_host


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_of_transformers_are_found_below_a_head_and_without_one(family: str) -> None:
    model = tiny_host(family)
    for host in (model, model.base_model):
        found = find_layers(host)
        assert found.layers == tuple(model.get_submodule(LAYER_PATHS[family]))
        assert found.path is not None
        assert host.get_submodule(found.path)[0] is found.layers[0]
        assert width_of(host, found) == WIDTH


def _nested(**modules: nn.Module) -> nn.Module:
    return nn.ModuleDict(modules)


def _list(num_layers: int = 2) -> nn.ModuleList:
    return nn.ModuleList(PlainBlock() for _ in range(num_layers))


def test_lists_inside_layers_are_not_the_models() -> None:
    experts = nn.ModuleList(_nested(layers=_list(), norm=nn.LayerNorm(WIDTH)) for _ in range(3))
    model = _nested(gpt_neox=_nested(layers=experts))
    assert find_layers(model).path == "gpt_neox.layers"


def test_sequence_named_blocks_is_a_list_where_no_other_is() -> None:
    blocks = nn.Sequential(*_list(3))
    assert find_layers(_nested(blocks=blocks)).path == "blocks"
    assert find_layers(_nested(layers=nn.Sequential(nn.Linear(2, 2)), h=_list())).path == "h"


def test_several_lists_are_named_in_one_line() -> None:
    model = _nested(encoder=_nested(layers=_list(2)), decoder=_nested(layers=_list(3)))
    expected = (
        r"^the ModuleDict has 2 lists of layers: give layers= the path of one, or a list of modules; there are "
        r"encoder\.layers \(2 PlainBlock\), decoder\.layers \(3 PlainBlock\)$"
    )
    with pytest.raises(ValueError, match=expected):
        find_layers(model)
    assert find_layers(model, "decoder.layers").paths == tuple(f"decoder.layers.{place}" for place in range(3))


def test_model_without_a_usual_name_is_told_what_it_has() -> None:
    with pytest.raises(ValueError, match=r"^the ModuleDict has no list of layers with a usual name: .*stack \(2 Plain"):
        find_layers(_nested(stack=_list()))
    with pytest.raises(ValueError, match=r"^the Linear has no list .*: give layers=\[\.\.\.\], the modules that run"):
        find_layers(nn.Linear(2, 2))


def test_given_layers_may_be_a_list_a_part_of_one_or_single_modules() -> None:
    model = PlainModel()
    assert find_layers(model, model.blocks).path == "blocks"
    part = find_layers(model, list(model.blocks)[1:])
    assert part.path is None
    assert part.paths == ("blocks.1", "blocks.2", "blocks.3")
    with pytest.raises(ValueError, match=r"^layers has the same layer twice"):
        find_layers(model, [model.blocks[0]] * DEPTH)


def test_width_that_nothing_says_is_asked_for() -> None:
    model = _nested(layers=nn.ModuleList(nn.Linear(4, 4) for _ in range(2)))
    with pytest.raises(ValueError, match=r"^the width of the states of the ModuleDict is not known: give width="):
        width_of(model, find_layers(model))


def test_norms_of_two_sizes_leave_the_width_to_the_configuration() -> None:
    model = tiny_host("qwen3", head_dim=4)
    layer = find_layers(model).layers[0]
    del layer.hidden_size
    assert width_of(model, find_layers(model)) == WIDTH
