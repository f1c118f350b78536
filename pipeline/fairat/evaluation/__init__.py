"""Evaluations: one module each, found by its name in params.yaml (`protocol.module_of`)."""
