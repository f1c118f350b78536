"""Schemas of params.yaml; imports no torch."""
