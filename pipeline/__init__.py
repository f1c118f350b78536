"""Fair adversarial training, from archive to table. Rooms are listed in `docs/decisions.md`; data flows one way."""
