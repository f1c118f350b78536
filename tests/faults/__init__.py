"""What the pipeline withstands, tried with real processes: `make faults`; docs/guarantees.md has the promises."""
