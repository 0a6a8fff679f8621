"""The blocks of a scenario file as pydantic models."""
