"""What a trial asks of a node, how many fit, and the one kind of device that a run measures on."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.placement_group import placement_group_table

from depthweave.search.cluster.device_kinds import Node, kind_of_run, needs_one_kind, placement_of
from depthweave.search.cluster.nodes import alive_nodes
from depthweave.search.cluster.placement import Placement, bundle, check_room, trials_per_node
from depthweave.search.cluster.ray_session import cluster
from depthweave.search.spec.loading import make_spec
from depthweave.search.spec.schema import Resources, Spec
from depthweave.search.tune.loop import tune_bundle
from tests.reports.synthetic import make_record

_A = [Node(id=f"a{number}", name=f"a{number}", hardware="kind A") for number in range(2)]
_B = [Node(id="b", name="b", hardware="kind B")]


def _resources(**values: Any) -> Resources:
    return Resources(**values)


def test_trials_are_counted_node_by_node() -> None:
    # Together three CPUs are left over, and no trial fits into them.
    assert trials_per_node(_resources(cpus_per_trial=4), nodes=[{"CPU": 7.0}, {"CPU": 8.0}, {"CPU": 1.0}]) == [1, 2, 0]


def test_small_models_share_a_gpu() -> None:
    nodes = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 16.0}]
    assert trials_per_node(_resources(gpus_per_trial=0.25), nodes=nodes) == [8, 0]
    # 1 / (1 / 3) is below 3 in some floats' eyes.
    assert trials_per_node(_resources(gpus_per_trial=1 / 3), nodes=[{"CPU": 16.0, "GPU": 1.0}]) == [3]


def test_memory_counts_where_it_is_named() -> None:
    nodes = [{"CPU": 16.0, "memory": 10e9}]
    assert trials_per_node(_resources(memory_gb_per_trial=4), nodes=nodes) == [2]
    assert bundle(_resources(memory_gb_per_trial=4)) == {"CPU": 1.0, "memory": 4e9}
    assert bundle(_resources()) == {"CPU": 1.0}


def test_trial_that_fits_no_node_is_refused() -> None:
    with pytest.raises(ValueError, match=r"asks for 4 CPUs, 1 GPUs, the largest node has 8 CPUs, 0 GPUs"):
        check_room(_resources(cpus_per_trial=4, gpus_per_trial=1), nodes=[{"CPU": 2.0}, {"CPU": 8.0}])


@pytest.mark.parametrize("number", [1.5, 2.25])
def test_gpus_beyond_one_are_whole(number: float) -> None:
    with pytest.raises(ValueError, match=r"a share of one, such as 0\.5, or a whole number"):
        _resources(gpus_per_trial=number)


def test_cluster_of_one_kind_leaves_no_node_out() -> None:
    assert placement_of(_spec(), nodes=_A, kind="") == Placement(hardware="kind A")


def test_cluster_of_two_kinds_needs_a_name() -> None:
    with pytest.raises(ValueError, match=r"2 kinds.*'kind A' \(2 nodes\), 'kind B' \(1 nodes\).*resources.hardware"):
        placement_of(_spec(), nodes=[*_A, *_B], kind="")


def test_nodes_of_other_kinds_are_left_out() -> None:
    placement = placement_of(_spec(), nodes=[*_A, *_B], kind="kind B")
    assert placement.selector() == {"ray.io/node-id": "!in(a0,a1)"}
    options = placement.options(_resources(gpus_per_trial=0.5))
    assert options == {"num_cpus": 1.0, "num_gpus": 0.5, "label_selector": placement.selector()}


def test_run_does_not_go_on_on_another_kind() -> None:
    with pytest.raises(ValueError, match="measures on 'kind B', and the cluster has 'kind A'"):
        placement_of(_spec(), nodes=_A, kind="kind B")
    with pytest.raises(RuntimeError, match="this node has kind A, and the run measures on kind B"):
        Placement(hardware="kind B").check("kind A")


def test_kind_of_a_run_is_the_named_one_or_that_it_began_with() -> None:
    records = [make_record(0, hardware=""), make_record(1, hardware="recorded")]
    assert kind_of_run(_spec(hardware="named"), surveyed="surveyed", records=records) == "named"
    assert kind_of_run(_spec(), surveyed="surveyed", records=records) == "surveyed"
    assert kind_of_run(_spec(), surveyed="", records=records) == "recorded"
    assert kind_of_run(_spec(), surveyed="", records=[]) == ""


def test_without_measured_objectives_the_kind_does_not_matter() -> None:
    spec = make_spec({"objectives": ["perplexity", "parameters"]})
    assert not needs_one_kind(spec)
    assert placement_of(spec, nodes=[*_A, *_B], kind="") == Placement()


def _spec(**resources: Any) -> Spec:
    return make_spec({"resources": resources})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_node_that_is_left_out_runs_neither_tasks_nor_trials() -> None:
    several = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        several.add_node(num_cpus=2)
        with cluster(several.address):
            first, second = (node["NodeID"] for node in alive_nodes())
            placement = Placement(excluded=(first,))
            # By value: workers do not import the tests.
            task = ray.remote(**placement.options(_resources()))(lambda: ray.get_runtime_context().get_node_id())
            assert set(ray.get([task.remote() for _ in range(4)])) == {second}
            group = tune_bundle(_spec(), placement=placement).to_placement_group()
            ray.get(group.ready(), timeout=120)
            assert set(placement_group_table(group)["bundles_to_node_id"].values()) == {second}
    finally:
        several.shutdown()
