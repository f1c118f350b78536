"""Predictions, metrics, intervals, the tidy table."""
