"""The JSON contract: every key has a meaning, the shipped schema is the records' own, and reports obey it."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import gcx
from gcx import results
from gcx.contract import json_schema, meanings, to_mapping

SCHEMA_FILE = Path(gcx.__file__).parent / "schema.json"


def test_the_shipped_schema_is_made_from_the_records():
    assert json.loads(SCHEMA_FILE.read_text()) == json_schema(), "run: make schema"


def test_every_key_has_a_meaning():
    for path, meaning in meanings().items():
        assert meaning.strip(), path


def test_every_record_is_frozen_and_not_iterable():
    records = [r for r in vars(results).values() if is_dataclass(r) and isinstance(r, type)]
    assert len(records) > 12
    for record in records:
        assert record.__dataclass_params__.frozen, record
        assert not hasattr(record, "__iter__"), record


def test_keys_that_are_fixed_by_contract():
    paths = set(meanings())
    layer = (
        "name status weight_shape out_channels in_channels groups filters_per_group transposed parameters groups_from "
        "groups_confidence groups_evidence groups_alternatives degenerate_filters degenerate_kernels notes within "
        "across kernels"
    ).split()
    within = (
        "n_pairs mean_r2 rms_r mean_abs_r max_abs_r max_abs_pair null_isotropic_r2 null_isotropic_mean_abs_r "
        "null_permuted_r2 excess excess_over ci95 se z_isotropic"
    ).split()
    across = (
        "n_pairs mean_r2 rms_r mean_abs_r max_abs_r null_isotropic_r2 null_isotropic_mean_abs_r null_permuted_r2 "
        "order_free"
    ).split()
    kernels = "same_group different_groups delta pvalue pvalue_adjusted n_resamples".split()
    fixed = {"schema", "gcx", "settings", "models", "comparison", "track", "violations", "exit_code", "models.coverage"}
    fixed |= {f"models.coverage.{key}" for key in ("convolutions", "measured", "weight_share")}
    fixed |= {f"models.layers.{key}" for key in layer}
    fixed |= {f"models.layers.within.{key}" for key in within}
    fixed |= {f"models.layers.across.{key}" for key in across}
    fixed |= {f"models.layers.kernels.{key}" for key in kernels}
    fixed |= {f"models.layers.kernel_statistics.{f.name}" for f in fields(results.KernelStatistics)}
    assert fixed <= paths


@pytest.mark.parametrize("shape", [(16, 4, 3, 3), (16, 1, 3, 3), (16, 8, 1, 1), (1, 2, 3, 3), (2, 1, 1, 1)])
@pytest.mark.parametrize("groups", [1, 2, 16])
def test_reports_obey_the_schema_and_hold_no_nan(shape, groups):
    if shape[0] % groups:
        pytest.skip("does not divide")
    weight = np.random.default_rng(0).normal(size=shape)
    report = gcx.correlate({"c.weight": weight}, groups={"c": groups}, virtual_groups=2)
    text = json.dumps(to_mapping(report), allow_nan=False)
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(text))


def test_the_schema_can_refuse():
    report = to_mapping(gcx.correlate({"c.weight": np.random.default_rng(0).normal(size=(8, 4, 3, 3))}))
    report["models"][0]["layers"][0]["groups"] = "four"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(report)
