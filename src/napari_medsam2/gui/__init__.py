"""The napari widget: prompts drawn on layers, work in a thread, results as a Labels layer."""
