"""Fair adversarial training. The rooms of the house, in order: each imports only from those above it."""

ROOMS = (
    "errors",
    "locales",
    "paths",
    "files",
    "progress",
    "provenance",
    "lock",
    "seeds",
    "device",
    "sealed",
    "settings",
    "results",
    "data",
    "models",
    "attacks",
    "methods",
    "training",
    "evaluation",
    "rendering",
    "study",
    "fingerprint",
    "console",
    "papers",
    "dependencies",
    "tracking",
    "tools",
)
"""From the ground floor up; tests/test_layers.py reads the imports and holds the order.

Results are made in the rooms from `seeds` to `rendering`: `fingerprint` leaves out those before and after.
"""
