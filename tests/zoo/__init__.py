"""The zoo: labelled real trainings, sick and healthy, and the score of everybody who judges them.

`python -m tests.zoo list`, `make`, `score` and `show`, from the root of the repository.
"""
