"""Methods: parts, their catalogue, and one file per paper with what that paper adds."""
