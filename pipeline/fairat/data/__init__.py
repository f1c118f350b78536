"""Images from their sources to the one form that training and evaluation read."""
