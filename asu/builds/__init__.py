"""Builds as clients see them: requests, answers, ETA, capacity, queue and fleet of workers."""
