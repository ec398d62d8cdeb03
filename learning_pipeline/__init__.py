"""Learn from the growing telemetry of AI agents, exactly once."""

ENVIRONMENT_PREFIX = "LEARNING_PIPELINE_"
"""Before the name of a setting, in the environment."""
