"""Fault runs: the whole system under a seeded storm of failures, and a judge over what its clients were told.

    make nemesis SEED=1                      two workers, 60 requests for 20 builds, 3 minutes of faults, then a verdict
    python -m tests.nemesis HISTORY.jsonl    judge a recorded run again

    schedule ──► storm ──► deployment          what is asked and what is broken when: a pure function of the seed
       │           │           ▲
       └──► clients, sampler ──┘──► history    every request with its answer, every fault, the containers once a second
                                       │
                     journal, survey ──┴──► judgement    a pure function over the history, with tests of its own

Nothing of the services is imported: they are started by their commands, reached over HTTP, and
looked at where an operator could look.
"""
