"""One module per family of formats, each turning a file's bytes into text and structure. `reading.py` decides which one reads what."""
