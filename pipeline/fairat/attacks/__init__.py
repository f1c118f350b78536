"""Attacks: the one gradient loop, and adapters to published attacks."""
