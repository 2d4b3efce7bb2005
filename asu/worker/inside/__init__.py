"""Programs that run in containers and never in the worker; each file is given to Python as text.

They import the standard library alone and run on Python 3.9, which is what the ImageBuilders'
images have.
"""
