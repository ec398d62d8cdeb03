"""Dagster's entry point: wiring, nothing else."""

from learning_pipeline.defs import build_definitions

defs = build_definitions()
