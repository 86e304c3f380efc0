"""What a long run asks of its machine: memory, processes, checkpoints, logs, random numbers."""
