"""Rules on a front whose answers are known, and the messages about wrong ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.reports.analysis.selection import Condition, numeric_columns, parse_where, select
from depthweave.reports.store.records import Record
from tests.reports.confirmed import confirmed_records
from tests.reports.synthetic import make_record

PAIR = ("perplexity", "latency")


def _records() -> list[Record]:
    """A front of four with its knee at trial 2, one dominated record, one stopped, one failed."""
    return [
        make_record(0, architecture_id="aa11", perplexity=4.0, latency=2.0, memory_bytes=40, depth=12),
        make_record(1, architecture_id="aa22", perplexity=4.1, latency=1.6, memory_bytes=50, depth=12),
        make_record(2, architecture_id="bb11", perplexity=4.2, latency=1.1, memory_bytes=60, depth=8),
        make_record(3, architecture_id="cc11", perplexity=5.0, latency=1.0, memory_bytes=70, depth=8),
        make_record(4, architecture_id="dd11", perplexity=4.6, latency=1.7, memory_bytes=10, depth=6),
        make_record(5, architecture_id="ee11", perplexity=None, state="pruned", reason="too slow"),
        make_record(6, architecture_id="ff11", perplexity=None, state="failed", reason="no memory"),
    ]


@pytest.mark.parametrize(("how", "trial"), [("best", 0), ("knee", 2), ("fastest", 3), ("smallest", 0)])
def test_select_rules(how: str, trial: int) -> None:
    assert select(_records(), how=how, objectives=PAIR).trial == trial


def test_select_knee_is_farthest_below_the_line_of_the_ends() -> None:
    members = _records()[:4]
    ends = (members[0], members[3])

    def below(row: Record) -> float:
        assert row.perplexity is not None
        assert row.latency is not None
        x = (row.perplexity - 4.0) / 1.0
        y = (row.latency - 1.0) / 1.0
        return (1 - x - y) / 2**0.5

    assert below(ends[0]) == pytest.approx(0)
    assert select(members, how="knee", objectives=PAIR).trial == max(members, key=below).trial


def test_select_knee_does_not_depend_on_units() -> None:
    scaled = [
        make_record(row.trial, perplexity=row.perplexity, latency=(row.latency or 0) * 1e6) for row in _records()[:4]
    ]
    assert select(scaled, how="knee", objectives=PAIR).trial == 2


def test_select_smallest_without_memory_takes_parameters() -> None:
    records = [
        make_record(0, perplexity=4.0, latency=2.0, memory_bytes=None, parameters=300),
        make_record(1, perplexity=5.0, latency=1.0, memory_bytes=None, parameters=200),
    ]
    assert select(records, how="smallest", objectives=PAIR).trial == 1


def test_select_rule_without_its_column_says_so() -> None:
    with pytest.raises(ValueError, match="no record on the front has latency"):
        select([make_record(0, latency=None)], how="fastest", objectives=["perplexity"])
    with pytest.raises(ValueError, match="no complete record has latency"):
        select([make_record(0, latency=None)], how="knee", objectives=PAIR)


def test_select_conditions_come_before_the_front() -> None:
    # Trial 4 is dominated, yet the fastest (and only) one of depth 6.
    assert select(_records(), how="fastest", objectives=PAIR, where="depth==6").trial == 4
    assert select(_records(), how="best", objectives=PAIR, where="latency<=1.1").trial == 2
    assert select(_records(), how="best", objectives=PAIR, where="latency<1.1").trial == 3


@pytest.mark.parametrize("text", ["latency<=1.6,depth==12", "latency <= 1.6 and depth == 12", "depth>8 , latency<2e0"])
def test_select_several_conditions_all_hold(text: str) -> None:
    assert select(_records(), how="best", objectives=PAIR, where=text).trial == 1


def test_select_nothing_meets_says_how_near() -> None:
    with pytest.raises(ValueError, match=r"nothing meets latency<=0\.9: nearest: latency 1 \(id cc11\)"):
        select(_records(), how="best", objectives=PAIR, where="latency<=0.9")
    with pytest.raises(ValueError, match=r"nearest: latency 1\.1 \(id bb11\)"):
        select(_records(), how="best", objectives=PAIR, where="latency<=1 and perplexity<4.5")
    with pytest.raises(ValueError, match="trial_latency was not measured"):
        select(_records(), how="best", objectives=PAIR, where="trial_latency<=1")


def test_select_id_prefix_and_seeds() -> None:
    again = make_record(9, architecture_id="bb11", perplexity=4.15, seed=1)
    assert select([*_records(), again], how="id:bb", objectives=PAIR).trial == 9
    assert select([*_records(), again], how="id:bb", objectives=PAIR, where="seed==0").trial == 2
    assert select(_records(), how="id:aa11", objectives=PAIR).trial == 0


def test_select_id_whole_wins_over_longer_ones() -> None:
    records = [make_record(0, architecture_id="aa"), make_record(1, architecture_id="aa11")]
    assert select(records, how="id:aa", objectives=PAIR).trial == 0


def test_select_prefers_settled_members_and_gives_a_training_that_has_weights() -> None:
    records = confirmed_records()
    chosen = select(records, how="best", objectives=PAIR)
    # `best` has the lower mean, but may not be on the front.
    assert chosen in records
    assert (chosen.architecture_id, chosen.trial, chosen.loss) == ("close", 2, 1.29)
    assert select(records, how="fastest", objectives=PAIR).architecture_id == "plain"


def test_select_takes_what_there_is_where_nothing_is_settled() -> None:
    two_seeds = [item for item in confirmed_records() if item.seed < 3]
    assert select(two_seeds, how="best", objectives=PAIR).architecture_id == "best"
    assert select(confirmed_records(), how="best", objectives=PAIR, where="latency>1.35").architecture_id == "best"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("id:aa", r"begins 2 architecture ids \(aa11, aa22\)"),
        ("id:bb12", r"id:bb12 is no architecture of this run: nearest: bb11"),
        ("id:", r"is no architecture of this run"),
        ("id:ee11", r"id:ee11 is pruned \(too slow\): only complete"),
        ("fast", r"did you mean 'fastest'\? Known: best, knee, fastest, smallest, id:ID"),
    ],
)
def test_select_by_an_unknown_rule_is_one_line(how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        select(_records(), how=how, objectives=PAIR)
    assert "\n" not in str(caught.value)


def test_select_from_nothing_complete() -> None:
    with pytest.raises(ValueError, match="no record is complete yet"):
        select(_records()[5:], how="best", objectives=PAIR)
    with pytest.raises(ValueError, match="the run holds no record"):
        select([], how="id:aa", objectives=PAIR)


def test_parse_where_conditions() -> None:
    assert parse_where("latency<=0.9") == (Condition("latency", "<=", 0.9),)
    assert parse_where("memory_bytes < 3e8 and depth>=4") == (
        Condition("memory_bytes", "<", 3e8),
        Condition("depth", ">=", 4.0),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latncy<=1", "did you mean 'latency'"),
        ("fusion==3", "'fusion' is not a number"),
        ("reference==1", "'reference' is not a number"),
        ("latency=<1", "write COLUMN SIGN NUMBER"),
        ("latency<=fast", "write COLUMN SIGN NUMBER"),
        ("latency<=nan", "write COLUMN SIGN NUMBER"),
        ("latency", "write COLUMN SIGN NUMBER"),
        ("", "write COLUMN SIGN NUMBER"),
        (" , ", "write COLUMN SIGN NUMBER"),
        ("__import__('os')<=1", "write COLUMN SIGN NUMBER"),
    ],
)
def test_parse_where_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_where(text)


_conditions = st.builds(
    "{}{}{}".format,
    st.sampled_from(["latency", "depth", "perplexity", "dilation", "fusion", "x", " trial"]),
    st.sampled_from(["<", "<=", "==", ">=", ">", "=", "!="]),
    st.sampled_from(["1", "1e400", "-1e400", "inf", "nan", "1_0", "9" * 400])
    | st.floats().map(str)
    | st.text(max_size=5),
)
_wheres = st.text(max_size=30) | st.builds(
    str.join, st.sampled_from([",", " and ", ""]), st.lists(_conditions, max_size=3)
)


@settings(max_examples=100, deadline=None)
@given(
    where=_wheres, how=st.sampled_from(["best", "knee", "fastest", "smallest", "id:0000", "id:"]) | st.text(max_size=9)
)
def test_any_wish_is_a_record_or_one_line(where: str, how: str) -> None:
    fault = ""
    try:
        assert select(_records(), how=how, objectives=PAIR, where=where)
    except ValueError as error:
        fault = str(error)
    assert len(fault.splitlines()) <= 1


@pytest.mark.parametrize("where", ["latency<1," * 100_000, "x" * 10**6 + "<1", "latency" + " " * 10**6 + "x"])
def test_endless_wish_is_refused_at_once(where: str) -> None:
    with pytest.raises(ValueError, match="characters: write at most"):
        select(_records(), objectives=PAIR, where=where)
    with pytest.raises(ValueError, match="characters: write at most"):
        select(_records(), how=where, objectives=PAIR)


def test_numeric_columns_are_numbers_only() -> None:
    columns = numeric_columns()
    assert {"latency", "depth", "perplexity", "memory_bytes", "dilation"} <= set(columns)
    assert not {"fusion", "reference", "started_at", "state"} & set(columns)
