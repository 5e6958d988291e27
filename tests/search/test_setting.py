"""What a search needs before it starts, and what a resumed one must find unchanged."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from depthweave.reports.store import RunStore
from depthweave.search.setting import check_same_text, create_run, spec_to_resume
from depthweave.search.spec_file import SpecError
from tests.search.searching import setting_of


def test_changed_corpus_is_refused_before_any_trial_has_ended(
    small_spec: dict[str, Any], corpus_folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text"
    shutil.copytree(corpus_folder, text)
    spec = {**small_spec, "corpus": {**small_spec["corpus"], "paths": [str(text)]}}
    create_run(setting_of(spec), out=tmp_path / "run")
    store = RunStore.open(tmp_path / "run")
    check_same_text(store, setting_of(spec).tokens)
    (text / "more.txt").write_text("and a word more\n" * 40, encoding="utf-8")
    with pytest.raises(ValueError, match="give the same text, or start a new run"):
        check_same_text(store, setting_of(spec).tokens)


def test_run_keeps_its_resolved_spec_and_reference(small_spec: dict[str, Any], tmp_path: Path) -> None:
    setting = setting_of(small_spec)
    store = create_run(setting, out=tmp_path / "run")
    assert store.spec_yaml == setting.spec.to_yaml()
    assert store.info.reference_id == setting.reference.architecture.id
    assert setting.reference.architecture.depth == 6


def test_run_of_an_earlier_version_that_names_its_precision_goes_on_with_it(
    small_spec: dict[str, Any], tmp_path: Path
) -> None:
    setting = setting_of({**small_spec, "recipe": {**small_spec["recipe"], "precision": "float32"}})
    store = create_run(setting, out=tmp_path / "run")
    given = tmp_path / "spec.yaml"
    given.write_text(yaml.safe_dump({**small_spec, "seed": setting.spec.seed}), encoding="utf-8")
    assert "precision: float32" in store.spec_yaml
    assert spec_to_resume(store, given=given, overrides=[]) == setting.spec
    with pytest.raises(SpecError, match=r"recipe\.precision is 'bfloat16', was 'float32'"):
        spec_to_resume(store, given=given, overrides=["recipe.precision=bfloat16"])
