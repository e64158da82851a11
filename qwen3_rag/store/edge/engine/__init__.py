"""What runs in the engine process: one Qdrant shard, driven by plain data over two pipes.

It knows `qdrant_edge` and the standard library. It deliberately does not know qdrant-client, numpy or settings, so that
the process starts in a few hundredths of a second and stays small.
"""
