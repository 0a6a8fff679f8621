"""The claims of the MALLES paper (arXiv 2603.17694), each tested on choice occasions: `python -m research.paper`."""

from malles_agents.reproduce.registry import Entry

CLAIMS = {
    "alignment": Entry("research.paper.alignment", "alignment", "aligned against unaligned", 1),
    "epochs": Entry("research.paper.alignment", "epochs", "the same over passes through the training occasions", 1),
    "window": Entry("research.paper.window", "window", "the same with mean-field windows of 1 to 20 periods", 2),
    "transfer": Entry("research.paper.transfer", "transfer", "the same: one, similar or all categories", 1),
    "augmentation": Entry("research.paper.inputs", "augmentation", "the same without derived inputs", 1),
    "attention": Entry("research.paper.inputs", "attention", "with a prior on price tokens, prompted", 2),
    "consistency": Entry("research.paper.consistency", "consistency", "with a penalty on rewording", 1),
    "stability": Entry("research.paper.stability", "stability", "spread over repeated sampling", 2),
}
"""Claims by name; each module is imported only when its claim is tested."""
