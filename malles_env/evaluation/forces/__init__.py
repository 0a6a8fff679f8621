"""Forces of demand over time, estimated from choice occasions: which ones a log shows, and how strong they are."""

from malles_env.evaluation.forces.estimates import ForceEstimate, as_block
from malles_env.evaluation.forces.estimation import FORCES, estimate_forces

__all__ = ["FORCES", "ForceEstimate", "as_block", "estimate_forces"]
