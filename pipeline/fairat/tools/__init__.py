"""What a person calls that is no stage."""
