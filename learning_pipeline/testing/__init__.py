"""For tests of pipelines built on this one: telemetry generator, crash points."""
