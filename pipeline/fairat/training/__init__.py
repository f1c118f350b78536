"""Training: one minimax step, the loop over epochs, recipes and checkpoints."""
