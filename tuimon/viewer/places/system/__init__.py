"""The place that shows the machine: processor, memory, disk, network, GPU, and where the time of a step goes."""
