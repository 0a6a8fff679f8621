"""The economic audit: whether consumers, of any kind, obey what economics asks of demand.

Everything here works through the `Consumers` protocol alone: an offer in, choice probabilities and quantities out.
"""

from __future__ import annotations

from malles_env.evaluation.audit.finding import Chart, Finding, Series, Share
from malles_env.evaluation.audit.references import ElasticityComparison, Reference, compare_elasticities, references
from malles_env.evaluation.audit.runner import AuditReport, AuditSettings, audit
from malles_env.evaluation.audit.subject import Asker, Subject
from malles_env.evaluation.audit.twins import Relabelled, Reordered, Reworded

__all__ = [
    "Asker",
    "AuditReport",
    "AuditSettings",
    "Chart",
    "ElasticityComparison",
    "Finding",
    "Reference",
    "Relabelled",
    "Reordered",
    "Reworded",
    "Series",
    "Share",
    "Subject",
    "audit",
    "compare_elasticities",
    "references",
]
