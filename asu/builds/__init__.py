"""Builds as clients see them: requests, answers, ETA, capacity, the queue and the fleet of workers."""
