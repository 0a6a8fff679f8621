"""Where other projects document the names that these pages link to, as inventories that Sphinx reads without a network.

Sphinx usually fetches the whole inventory of each project when pages are built. Here the few names that are used are
listed by hand, with the address that each project gives them; `tests/test_docs.py` checks that the names exist.
"""

from __future__ import annotations

import zlib

ADDRESSES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "torch": "https://docs.pytorch.org/docs/stable/",
    "gymnasium": "https://gymnasium.farama.org/",
    "pettingzoo": "https://pettingzoo.farama.org/",
    "stable_baselines3": "https://stable-baselines3.readthedocs.io/en/master/",
    "polars": "https://docs.pola.rs/api/python/stable/",
}
NAMES = {
    "python": {
        "library/pathlib.html": ["pathlib.Path"],
        "library/os.html": ["os.PathLike"],
        "library/typing.html": ["typing.Any", "typing.Literal", "typing.Protocol", "typing.Annotated"],
        "library/collections.abc.html": [
            f"collections.abc.{name}"
            for name in ("Callable", "Collection", "Iterable", "Iterator", "Mapping", "MutableMapping", "Sequence")
        ],
    },
    "numpy": {
        "reference/generated/numpy.ndarray.html": ["numpy.ndarray"],
        "reference/generated/numpy.dtype.html": ["numpy.dtype"],
        "reference/arrays.scalars.html": ["numpy.float64", "numpy.float32", "numpy.int64", "numpy.bool_"],
        "reference/random/generator.html": ["numpy.random.Generator"],
        "reference/typing.html": ["numpy.typing.ArrayLike", "numpy.typing.NDArray"],
        "reference/generated/numpy.ravel_multi_index.html": ["numpy.ravel_multi_index"],
    },
    "torch": {
        "tensors.html": ["torch.Tensor"],
        "tensor_attributes.html": ["torch.device", "torch.dtype"],
        "generated/torch.nn.Module.html": ["torch.nn.Module"],
    },
    "gymnasium": {
        "api/env/": ["gymnasium.Env"],
        "api/wrappers/": ["gymnasium.Wrapper"],
        "api/registry/": ["gymnasium.make", "gymnasium.make_vec"],
        "api/vector/": ["gymnasium.vector.VectorEnv"],
        "api/spaces/": ["gymnasium.spaces.Space"],
        "api/spaces/fundamental/": [
            "gymnasium.spaces.Box", "gymnasium.spaces.Discrete", "gymnasium.spaces.MultiBinary",
            "gymnasium.spaces.MultiDiscrete",
        ],
        "api/spaces/composite/": ["gymnasium.spaces.Dict", "gymnasium.spaces.Tuple"],
    },
    "pettingzoo": {
        "api/parallel/": ["pettingzoo.utils.env.ParallelEnv"],
        "api/aec/": ["pettingzoo.utils.env.AECEnv"],
    },
    "stable_baselines3": {
        "guide/vec_envs.html": ["stable_baselines3.common.vec_env.VecEnv"],
        "modules/base.html": ["stable_baselines3.common.base_class.BaseAlgorithm"],
        "modules/ppo.html": ["stable_baselines3.ppo.PPO"],
        "modules/a2c.html": ["stable_baselines3.a2c.A2C"],
        "modules/sac.html": ["stable_baselines3.sac.SAC"],
        "modules/dqn.html": ["stable_baselines3.dqn.DQN"],
    },
    "polars": {
        "reference/dataframe/index.html": ["polars.DataFrame"],
        "reference/expressions/index.html": ["polars.Expr"],
        "reference/lazyframe/index.html": ["polars.LazyFrame"],
        "reference/series/index.html": ["polars.Series"],
    },
}  # fmt: skip
"""Project -> page below its address -> names; each name is its own anchor on the page."""
SHORT = {
    **{name.rsplit(".", 1)[1]: name for name in NAMES["python"]["library/collections.abc.html"]},
    "Path": "pathlib.Path",
    "PathLike": "os.PathLike",
    "Any": "typing.Any",
    "Literal": "typing.Literal",
    "ArrayLike": "numpy.typing.ArrayLike",
    "NDArray": "numpy.typing.NDArray",
    "Tensor": "torch.Tensor",
    "nn.Module": "torch.nn.Module",
    "VecEnv": "stable_baselines3.common.vec_env.VecEnv",
    "BaseAlgorithm": "stable_baselines3.common.base_class.BaseAlgorithm",
    "PPO": "stable_baselines3.ppo.PPO",
    "ParallelEnv": "pettingzoo.utils.env.ParallelEnv",
    "pettingzoo.ParallelEnv": "pettingzoo.utils.env.ParallelEnv",
    "gymnasium.Space": "gymnasium.spaces.Space",
    "VectorEnv": "gymnasium.vector.VectorEnv",
}
"""How annotations and docstrings write some of the names."""
PREFIXES = {"np.": "numpy.", "pl.": "polars.", "gym.": "gymnasium.", "spaces.": "gymnasium.spaces."}


def full_name(written: str) -> str:
    """Return the name under which a project documents what an annotation calls `written`."""
    for short, long in PREFIXES.items():
        if written.startswith(short):
            written = long + written.removeprefix(short)
    return SHORT.get(written, written)


def address_of(written: str) -> str | None:
    """Return the address of a name as an annotation writes it; None where it is not listed."""
    name = full_name(written)
    for project, pages in NAMES.items():
        for page, names in pages.items():
            if name in names:
                return f"{ADDRESSES[project]}{page}#{name}"
    return None


def inventory(project: str) -> bytes:
    """Return a project's names in the format of ``objects.inv``."""
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# The rest is compressed using zlib.\n"
    rows = [
        f"{name} py:{'function' if name.rsplit('.', 1)[1].islower() else 'class'} 1 {page}#$ -\n"
        for page, names in NAMES[project].items()
        for name in names
    ]
    return head.encode() + zlib.compress("".join(rows).encode())
