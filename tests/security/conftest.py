"""What the tests of one subject share."""

from second_user import shared  # noqa: F401  # a fixture
