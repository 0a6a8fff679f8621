"""The pages: they draw what `malles_env.studio.logic` works out, and nothing else."""
