"""Fault runs: the whole system under a seeded storm of failures, and a judge of what clients saw.

    make nemesis SEED=1                      two workers, 60 requests, faults, and a verdict
    python -m tests.nemesis HISTORY.jsonl    judge a recorded run again

    schedule ──► storm ──► deployment        what is asked and broken when: a function of the seed
       │           │           ▲
       └──► clients, sampler ──┘──► history  each request and answer, each fault, the containers
                                       │
                     journal, survey ──┴──► judgement    a function of the history

Nothing of the services is imported: they are started by their commands, reached over HTTP, and
looked at where an operator could look.
"""
