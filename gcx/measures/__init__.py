"""Arrays -> numbers; pure functions, numpy alone. A measure: one function in one file here, one line in `layer.py`."""

from gcx.measures.effects import measure_lineage, runs_interval, runs_pvalue, smallest_pvalue, welch, welch_runs
from gcx.measures.kernels import DeltaState, delta_pvalue, layer_key
from gcx.measures.layer import LayerMeasures, measure_layer
from gcx.measures.matched import Estimate, matched_mean_r2, paired_se
from gcx.measures.nulls import adjust_pvalues
from gcx.measures.pairs import correlation_blocks

__all__ = [
    "DeltaState",
    "Estimate",
    "LayerMeasures",
    "adjust_pvalues",
    "correlation_blocks",
    "delta_pvalue",
    "layer_key",
    "matched_mean_r2",
    "measure_layer",
    "measure_lineage",
    "paired_se",
    "runs_interval",
    "runs_pvalue",
    "smallest_pvalue",
    "welch",
    "welch_runs",
]
