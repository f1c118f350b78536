"""One module per DVC stage: load, call, save. No arithmetic."""
