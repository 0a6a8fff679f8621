"""What a prompted consumer is compared with while it learns: the model before training, as its reference."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from malles_env.preference.encoder.adapters import is_adapted
from malles_env.preference.encoder.backbones import Backbone


def frozen_copy(backbone: Backbone) -> nn.Module | None:
    """Return a copy that does not learn of a body that is trained whole; None where an adapter leaves the body."""
    return None if is_adapted(backbone) else copy.deepcopy(backbone.model).requires_grad_(False)


@contextmanager
def reference_body(backbone: Backbone, copied: nn.Module | None) -> Iterator[nn.Module]:
    """Yield the body before training: the copy, or the adapted body with its adapter switched off for a while."""
    if copied is not None:
        yield copied
        return
    adapted: Any = backbone.model
    with adapted.disable_adapter():
        yield adapted
