"""The papers' tables and figures: what they print, which runs that needs, and the same table with our numbers."""
