"""PRACTISES: a real GPT, real text, and the scenarios that break it."""
