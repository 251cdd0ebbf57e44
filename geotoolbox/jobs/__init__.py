"""What a person asks for: one module a job, each with a typed spec and one function ``run(spec, events)``.

The doors (command line, Python, QGIS, widgets) make their options from the specs and hold no logic.
"""
