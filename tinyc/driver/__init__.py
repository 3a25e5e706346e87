"""From a model to a build folder: load, run the pipeline, emit, report."""
