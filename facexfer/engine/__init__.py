"""Training: one loop for every method, network and task, and the parts that it is made of."""
