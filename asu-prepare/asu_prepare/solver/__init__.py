"""Foretells what the package manager of an ImageBuilder will install; decides nothing."""
