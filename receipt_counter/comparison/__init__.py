"""Comparing finished runs: paired effects over seeds and images, corrected for many questions."""
